"""Whatever colour somebody chooses, the page can be read."""

from hypothesis import given
from hypothesis import strategies as st

from upkeep.web.colour import DAY, NIGHT, READABLE, contrast, palette

COLOURS = st.integers(min_value=0, max_value=0xFFFFFF).map(lambda value: f"#{value:06x}")


@given(accent=COLOURS)
def test_text_of_any_colour_can_be_read_by_day_and_by_night(accent: str) -> None:
    colours = palette(accent)

    for ground in DAY:
        assert contrast(colours["day"]["accent"], ground) >= READABLE
    for ground in NIGHT:
        assert contrast(colours["night"]["accent"], ground) >= READABLE


def test_a_colour_that_can_be_read_stays_what_it_is() -> None:
    assert palette("#0b5394")["day"]["accent"] == "#0b5394"
    assert palette("#9fd3ff")["night"]["accent"] == "#9fd3ff"


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == 21
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54
