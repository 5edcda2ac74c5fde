"""The three custom resources as models; the CRDs and the reference documentation are generated from them."""

from typing import Final

GROUP: Final = "upkeep.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
