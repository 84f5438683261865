import io
from urllib.parse import unquote

import pandas
from hypothesis import given
from hypothesis import strategies as st

from clicksight.neighbours.open_clip import MISSING
from clicksight.neighbours.tokens import token

TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(sorted(MISSING)))


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_tokens_survive_pandas_and_come_back(texts: list[str]) -> None:
    tokens = [token(text) for text in texts]
    assert [unquote(one) for one in tokens] == texts
    assert all(one.split() == [one] for one in tokens)
    table = "user_id:token\tn:float\n" + "".join(f"{one}\t1\n" for one in tokens)
    read = pandas.read_csv(io.StringIO(table), sep="\t", dtype={"user_id:token": str}, engine="python")
    assert read["user_id:token"].tolist() == tokens


def test_what_pandas_takes_for_missing_is_known() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(STR_NA_VALUES) - {""} == MISSING
