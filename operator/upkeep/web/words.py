"""What a maintenance page says by itself, in the languages that it knows.

No library: the page must stay small. Every language says the same as English does; a sentence that counts never counts
less than two, so that no language needs a rule for its plural.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from upkeep.web.language import primary

ENGLISH: Final = "en"

_MINUTES_UP_TO: Final = 90
_HOURS_UP_TO: Final = 36
_TO: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of one language. In braces stands what is filled in.

    Attributes:
        title: heading where nobody wrote one.
        message: text where nobody wrote one.
        state: what is going on.
        soon: when it will be over, where that is not known.
        any_moment: the same, where it should have been over already.
        back_in: the same, with `{duration}`.
        minute: a duration of up to one minute.
        minutes: with `{number}`, at least two.
        hours: with `{number}`, at least two, which may end with ½.
        days: with `{number}`, at least two.
        expected: comes before the instant of the end.
        was_expected: the same, where it has passed.
        date: an instant, with `{weekday}`, `{day}`, `{month}`, `{year}`, `{time}` and `{zone}`.
        weekdays: from Monday on, as they stand in the date.
        months: from January on, as they stand in the date.
        local: the instant where the visitor is, with `{time}`.
        hint: that nothing needs to be done.
    """

    title: str
    message: str
    state: str
    soon: str
    any_moment: str
    back_in: str
    minute: str
    minutes: str
    hours: str
    days: str
    expected: str
    was_expected: str
    date: str
    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    local: str
    hint: str

    def instant(self, moment: datetime) -> str:
        """A moment as it is written in this language, in the time zone that it is in."""
        return self._dated(moment, f"{moment:%H:%M}")

    def span(self, start: datetime, end: datetime) -> str:
        """From one moment to another in the same time zone; the day stands there once where it is the same."""
        if start.date() != end.date() or start.utcoffset() != end.utcoffset():
            return f"{self.instant(start)} {_TO} {self.instant(end)}"
        return self._dated(start, f"{start:%H:%M}{_TO}{end:%H:%M}")

    def duration(self, length: timedelta) -> str:
        """A duration rounded up, so that nobody is promised too much."""
        minutes = math.ceil(length.total_seconds() / 60)
        if minutes <= 1:
            return self.minute
        if minutes <= _MINUTES_UP_TO:
            return self.minutes.format(number=minutes)
        half_hours = math.ceil(minutes / 30)
        if half_hours <= _HOURS_UP_TO * 2:
            return self.hours.format(number=f"{half_hours // 2}{'½' if half_hours % 2 else ''}")
        return self.days.format(number=math.ceil(minutes / 60 / 24))

    def _dated(self, moment: datetime, time: str) -> str:
        zone = moment.tzname() or ""
        return self.date.format(
            weekday=self.weekdays[moment.weekday()],
            day=moment.day,
            month=self.months[moment.month - 1],
            year=moment.year,
            time=time,
            zone=f"UTC{zone}" if zone[:1] in {"+", "-"} else zone,
        )


def words(language: str) -> tuple[str, Words]:
    """The words for a language, and the language that they really are in: English where it is not known."""
    spoken = primary(language)
    return (spoken, WORDS[spoken]) if spoken in WORDS else (ENGLISH, WORDS[ENGLISH])


WORDS: Final[Mapping[str, Words]] = {
    "en": Words(
        title="Down for maintenance",
        message="We are working on it and will be back soon.",
        state="Maintenance in progress",
        soon="Back soon",
        any_moment="Back any moment now",
        back_in="Back in {duration}",
        minute="about a minute",
        minutes="about {number} minutes",
        hours="about {number} hours",
        days="about {number} days",
        expected="Expected to end by",
        was_expected="It was expected to end by",
        date="{weekday}, {day} {month} {year}, {time} {zone}",
        weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        months=(
            *("January", "February", "March", "April", "May", "June"),
            *("July", "August", "September", "October", "November", "December"),
        ),
        local="{time} where you are",
        hint="You can leave this page open: it goes on by itself as soon as we are back.",
    ),
    "de": Words(
        title="Wartungsarbeiten",
        message="Wir arbeiten daran und sind bald wieder da.",
        state="Wartung läuft",
        soon="Bald wieder da",
        any_moment="Gleich wieder da",
        back_in="Wieder da in {duration}",
        minute="etwa einer Minute",
        minutes="etwa {number} Minuten",
        hours="etwa {number} Stunden",
        days="etwa {number} Tagen",
        expected="Voraussichtlich bis",
        was_expected="Das Ende war erwartet für",
        date="{weekday}, {day}. {month} {year}, {time} {zone}",
        weekdays=("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
        months=(
            *("Januar", "Februar", "März", "April", "Mai", "Juni"),
            *("Juli", "August", "September", "Oktober", "November", "Dezember"),
        ),
        local="{time} bei Ihnen",
        hint="Sie können diese Seite offen lassen: Es geht von selbst weiter, sobald wir wieder da sind.",
    ),
    "fr": Words(
        title="Site en maintenance",
        message="Nous y travaillons et serons bientôt de retour.",
        state="Maintenance en cours",
        soon="De retour bientôt",
        any_moment="De retour d'un instant à l'autre",
        back_in="De retour dans {duration}",
        minute="une minute environ",
        minutes="{number} minutes environ",
        hours="{number} heures environ",
        days="{number} jours environ",
        expected="Fin prévue :",
        was_expected="La fin était prévue :",
        date="{weekday} {day} {month} {year}, {time} {zone}",
        weekdays=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
        months=(
            *("janvier", "février", "mars", "avril", "mai", "juin"),
            *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
        ),
        local="{time} chez vous",
        hint="Vous pouvez laisser cette page ouverte : elle reprendra d'elle-même dès notre retour.",
    ),
    "es": Words(
        title="En mantenimiento",
        message="Estamos trabajando en ello y volveremos pronto.",
        state="Mantenimiento en curso",
        soon="Volvemos pronto",
        any_moment="Volvemos en cualquier momento",
        back_in="Volvemos en {duration}",
        minute="un minuto aproximadamente",
        minutes="unos {number} minutos",
        hours="unas {number} horas",
        days="unos {number} días",
        expected="Fin previsto:",
        was_expected="El fin estaba previsto:",
        date="{weekday}, {day} de {month} de {year}, {time} {zone}",
        weekdays=("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
        months=(
            *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
            *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
        ),
        local="{time} en su zona horaria",
        hint="Puede dejar esta página abierta: continuará por sí sola en cuanto volvamos.",
    ),
    "pt": Words(
        title="Em manutenção",
        message="Estamos trabalhando nisso e voltaremos em breve.",
        state="Manutenção em andamento",
        soon="Voltamos em breve",
        any_moment="Voltamos a qualquer momento",
        back_in="Voltamos em {duration}",
        minute="cerca de um minuto",
        minutes="cerca de {number} minutos",
        hours="cerca de {number} horas",
        days="cerca de {number} dias",
        expected="Término previsto:",
        was_expected="O término estava previsto:",
        date="{weekday}, {day} de {month} de {year}, {time} {zone}",
        weekdays=(
            *("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira"),
            *("sábado", "domingo"),
        ),
        months=(
            *("janeiro", "fevereiro", "março", "abril", "maio", "junho"),
            *("julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
        ),
        local="{time} no seu fuso horário",
        hint="Pode deixar esta página aberta: ela continua sozinha assim que voltarmos.",
    ),
    "it": Words(
        title="In manutenzione",
        message="Ci stiamo lavorando e torneremo presto.",
        state="Manutenzione in corso",
        soon="Torniamo presto",
        any_moment="Torniamo da un momento all'altro",
        back_in="Torniamo tra {duration}",
        minute="circa un minuto",
        minutes="circa {number} minuti",
        hours="circa {number} ore",
        days="circa {number} giorni",
        expected="Fine prevista:",
        was_expected="La fine era prevista:",
        date="{weekday} {day} {month} {year}, {time} {zone}",
        weekdays=("lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"),
        months=(
            *("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno"),
            *("luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
        ),
        local="{time} nel suo fuso orario",
        hint="Può lasciare aperta questa pagina: riprenderà da sola appena saremo di nuovo online.",
    ),
    "nl": Words(
        title="In onderhoud",
        message="We zijn ermee bezig en zijn snel weer terug.",
        state="Onderhoud bezig",
        soon="Snel weer terug",
        any_moment="Elk moment weer terug",
        back_in="Weer terug over {duration}",
        minute="ongeveer een minuut",
        minutes="ongeveer {number} minuten",
        hours="ongeveer {number} uur",
        days="ongeveer {number} dagen",
        expected="Verwacht einde:",
        was_expected="Het einde werd verwacht:",
        date="{weekday} {day} {month} {year}, {time} {zone}",
        weekdays=("maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag"),
        months=(
            *("januari", "februari", "maart", "april", "mei", "juni"),
            *("juli", "augustus", "september", "oktober", "november", "december"),
        ),
        local="{time} bij u",
        hint="U kunt deze pagina open laten: zij gaat vanzelf verder zodra we terug zijn.",
    ),
}
