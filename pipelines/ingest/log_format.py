"""How the text of a click log is written: its fields, their delimiter and quotes, its encoding and header.

The command `build_click_features` takes these parameters as options, the stage `ingest` as `ingest.log` of the
parameter file; the defaults are here for both. A Parquet file describes itself: of these parameters only `columns`
concerns it.
"""

import argparse
import codecs
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from base.console import UserError
from base.params import Params, validate_section
from pipelines.ingest.click_rows import COLUMNS, LONGEST_LINE, MOST_LINE, TAB

DELIMITERS = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "space": " ", r"\x01": "\x01"}
CHOICES = {"format": ("tsv", "csv", "jsonl"), "header": ("auto", "yes", "no")}
MOST_BAD_ROWS = 0.5


class LogParams(Params):
    """How a click log is written, and how many bad rows it may have; section `ingest.log` of a parameter file."""

    columns: str | None = Field(
        default=None,
        description="names of the text fields in order, or the names under which image_id, query and clicks are found, "
        "as in image_id=photo,query=keyword; without clicks each row is one click; null: image_id,query,clicks",
    )
    format: Literal["tsv", "csv", "jsonl"] | None = Field(
        default=None,
        description="tsv: fields are as they are; csv: they may be in double quotes; jsonl: an object on each line; "
        "null: tsv, but a log whose ids are all in quotes is refused",
    )
    delimiter: str | None = Field(
        default=None,
        description="an ASCII character, or tab, comma, semicolon, space; null: the format's own, tab or comma",
    )
    encoding: str = Field(default="utf-8", description="Python's name of the text's encoding, as gb18030 or utf-16")
    header: Literal["auto", "yes", "no"] = Field(
        default="auto", description="whether the first row of each file holds names; auto: if it looks so"
    )
    longest_line: int = Field(
        default=LONGEST_LINE, ge=1, le=MOST_LINE, description="bytes; longer lines go to quarantine unread"
    )
    most_bad_rows: float = Field(
        default=MOST_BAD_ROWS,
        ge=0,
        le=1,
        description="the largest share of bad rows; above it the job fails; headers and empty lines don't count",
    )

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = DELIMITERS.get(value, value)
        if len(value) != 1 or not value.isascii() or value in '\n\r\0"':
            raise ValueError(f"expected one ASCII character, or one of {', '.join(DELIMITERS)}")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            "".encode(value)  # fails for codecs that are not encodings of text, as base64
            name = codecs.lookup(value).name
            codecs.getincrementaldecoder(name)().decode(b"", True)
        except (LookupError, ValueError, TypeError):
            raise ValueError("Python has no such encoding; see its list of standard encodings") from None
        return "utf-8" if name == "utf-8-sig" else name


class Columns(NamedTuple):
    """Where the fields of a row are found.

    Attributes:
        order: names of the text fields by position: those of COLUMNS, other names for ignored fields; () if the fields
            are found by name, in a header.
        names: the names of image_id, query and clicks in Parquet, JSON Lines and headers; without clicks a row is one
            click.
    """

    order: tuple[str, ...]
    names: Mapping[str, str]


PLAIN = Columns(COLUMNS, dict(zip(COLUMNS, COLUMNS, strict=True)))


def read_columns(text: str | None) -> Columns:
    """Return the fields that a list like ``day,query,image_id`` or ``image_id=photo,query=keyword`` names.

    Raises:
        UserError: a name occurs twice, is not one of the three (after which an equals sign may stand), or is missing.
    """
    if text is None:
        return PLAIN
    parts = [part.strip() for part in text.split(",")]
    pairs = [tuple(side.strip() for side in part.split("=", 1)) for part in parts]
    by_name = any(len(pair) == 2 for pair in pairs)
    for name in COLUMNS:
        number = [pair[0] for pair in pairs].count(name)
        if number > 1 or (not number and by_name and name != "clicks"):
            raise UserError(f"columns {text!r}: {name} occurs {number} times; expected it once")
    if not by_name:
        if not set(parts) & set(COLUMNS):
            raise UserError(
                f"columns {text!r}: names none of {', '.join(COLUMNS)}; name the log's fields in their order, "
                "with any other name for an ignored field"
            )
        return Columns(tuple(parts), {name: name for name in COLUMNS if name in parts})
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in COLUMNS or not pair[1]:
            raise UserError(
                f"columns {text!r}: {'='.join(pair)} is not of the form NAME=FIELD, NAME one of {', '.join(COLUMNS)}; "
                "name all fields in order, or each of the three by its field's name"
            )
    return Columns((), {pair[0]: pair[1] for pair in pairs})


@dataclass(frozen=True)
class LogFormat:
    """How a click log is written, ready for use.

    Attributes:
        columns: where the fields are.
        are_columns_given: whether the user gave them.
        format: tsv, csv or jsonl.
        is_format_given: whether the user gave it.
        delimiter: the character between fields.
        encoding: a codec's name, utf-8 or another.
        header: auto, yes or no.
        longest: bytes that a line may have without its end.
        as_options: whether the user sees the parameters as options of a command, not as keys of ingest.log.
    """

    columns: Columns = PLAIN
    are_columns_given: bool = False
    format: str = "tsv"
    is_format_given: bool = False
    delimiter: str = "\t"
    encoding: str = "utf-8"
    header: str = "auto"
    longest: int = LONGEST_LINE
    as_options: bool = True

    def spelled(self, **values: Any) -> str:
        """Return parameters as the user writes them, as in ``--format csv`` or ``ingest.log.format: csv``."""
        names = {value: name for name, value in reversed(DELIMITERS.items())}
        if "delimiter" in values:
            values["delimiter"] = names.get(values["delimiter"], values["delimiter"])
        if self.as_options:
            return " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items())
        return ", ".join(f"ingest.log.{name}: {value}" for name, value in values.items())


def format_of(params: LogParams, as_options: bool = True) -> LogFormat:
    """Return the format that some parameters describe.

    Raises:
        UserError: the columns are impossible.
    """
    form = params.format or "tsv"
    return LogFormat(
        columns=read_columns(params.columns),
        are_columns_given=params.columns is not None,
        format=form,
        is_format_given=params.format is not None,
        delimiter=params.delimiter or (chr(TAB) if form == "tsv" else ","),
        encoding=params.encoding,
        header=params.header,
        longest=params.longest_line,
        as_options=as_options,
    )


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each parameter of a log, as ``--longest-line``."""
    metavars = {"columns": "NAMES", "delimiter": "CHARACTER", "encoding": "NAME", "longest_line": "BYTES"}
    for name, field in LogParams.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type={"longest_line": int, "most_bad_rows": float}.get(name, str),
            choices=CHOICES.get(name),
            default=field.default,
            metavar=None if name in CHOICES else metavars.get(name, "SHARE"),
            help=_help(str(field.description), field.default),
        )


def _help(description: str, default: Any) -> str:
    text = description.replace("%", "%%").replace("null:", "by default")
    return text if default is None else f"{text} ({default})"


def options_of(params: LogParams) -> list[str]:
    """Return the options of a command line for the parameters that don't have their defaults."""
    options = []
    for name, field in LogParams.model_fields.items():
        if (value := getattr(params, name)) != field.default:
            options += [f"--{name.replace('_', '-')}", str(value)]
    return options


def log_params_of(arguments: argparse.Namespace) -> LogParams:
    """Return the parameters of a log that a command line has.

    Raises:
        UserError: a value is impossible.
    """
    if not 1 <= arguments.longest_line <= MOST_LINE:
        raise UserError(f"--longest-line {arguments.longest_line}: expected 1 .. {MOST_LINE} bytes")
    values = {name: getattr(arguments, name) for name in LogParams.model_fields}
    return validate_section(LogParams, "log", values, where="command line")
