"""The parameters of a log: what is accepted, how it is understood, how it is written back."""

import argparse

import pytest

from base.console import UserError
from base.params import ParamsError, validate_section
from pipelines.ingest.click_rows import COLUMNS
from pipelines.ingest.log_format import (
    PLAIN,
    LogFormat,
    LogParams,
    add_log_options,
    format_of,
    log_params_of,
    options_of,
    read_columns,
)


@pytest.mark.parametrize(
    ("text", "order", "names"),
    [
        (None, COLUMNS, PLAIN.names),
        ("query, clicks,image_id", ("query", "clicks", "image_id"), PLAIN.names),
        ("_,query,day,_,image_id", ("_", "query", "day", "_", "image_id"), {"image_id": "image_id", "query": "query"}),
        ("image_id,clicks", ("image_id", "clicks"), {"image_id": "image_id", "clicks": "clicks"}),
        ("image_id=photo, query = key word", (), {"image_id": "photo", "query": "key word"}),
        ("clicks=n,image_id=id,query=q", (), {"image_id": "id", "query": "q", "clicks": "n"}),
    ],
)
def test_columns(text, order, names):
    assert read_columns(text) == (order, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,query,clicks,query", "query occurs 2 times; expected it once"),
        ("", "columns '': names none of image_id, query, clicks"),
        ("a,b", "names none of"),
        ("image_id=a", "query occurs 0 times"),
        ("image_id=a,query=b,c", "c is not of the form NAME=FIELD, NAME one of image_id"),
        ("image_id=a,query=b,day=c", "day=c is not of the form"),
        ("image_id=a,query=", "query= is not of the form"),
    ],
)
def test_columns_that_cannot_be_understood(text, message):
    with pytest.raises(UserError, match=message):
        read_columns(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoding": "hex"}, "Python has no such encoding"),
        ({"delimiter": "\n"}, "expected one ASCII character"),
        ({"delimiter": '"'}, "expected one ASCII character"),
        ({"delimiter": "→"}, "expected one ASCII character"),
        ({"longest_line": 0}, "log.longest_line = 0"),
        ({"most_bad_rows": -0.1}, "log.most_bad_rows = -0.1"),
        ({"format": "xlsx"}, "log.format = 'xlsx'"),
        ({"quotes": True}, "unknown parameter log.quotes"),
    ],
)
def test_impossible_parameters(values, message):
    with pytest.raises(ParamsError, match=message):
        validate_section(LogParams, "log", values, where="x")


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ({}, LogFormat()),
        ({"format": "csv"}, LogFormat(format="csv", is_format_given=True, delimiter=",")),
        (
            {"format": "csv", "delimiter": "tab", "encoding": "GBK"},
            LogFormat(format="csv", is_format_given=True, delimiter="\t", encoding="gbk"),
        ),
        ({"delimiter": "|", "encoding": "UTF-8-SIG"}, LogFormat(delimiter="|")),
    ],
)
def test_format_of_parameters(values, form):
    assert format_of(LogParams(**values)) == form


@pytest.mark.parametrize(
    "argv", [[], ["--format", "csv", "--delimiter", ";"], ["--most-bad-rows", "0.1", "--header", "no"]]
)
def test_options_come_back(argv):
    parser = argparse.ArgumentParser()
    add_log_options(parser)
    assert "(None)" not in parser.format_help()
    params = log_params_of(parser.parse_args(argv))
    assert options_of(params) == argv or sorted(options_of(params)) == sorted(argv)
    assert log_params_of(parser.parse_args(options_of(params))) == params


def test_parameters_are_spelled_as_the_user_writes_them():
    assert LogFormat().spelled(format="csv", delimiter="\t") == "--format csv --delimiter tab"
    assert LogFormat().spelled(delimiter="|", most_bad_rows="0.5") == "--delimiter '|' --most-bad-rows 0.5"
    assert LogFormat(as_options=False).spelled(delimiter=";") == "ingest.log.delimiter: semicolon"
