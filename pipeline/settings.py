"""What every configuration section of the pipeline shares."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of a config file: typed, immutable, and strict about names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
