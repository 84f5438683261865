import argparse

from tagging_data import options_of

from systems.tagging.sources import add_sources, sources_of


def test_the_options_name_the_folders(sources) -> None:
    parser = argparse.ArgumentParser()
    add_sources(parser)
    assert sources_of(parser.parse_args(options_of(sources)), 0) == sources
    assert sources_of(parser.parse_args(options_of(sources)[:3]), 0).features is None
