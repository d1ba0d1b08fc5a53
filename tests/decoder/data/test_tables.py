"""Of a table, one column is read as text, and never the table itself."""

from __future__ import annotations

import pyarrow
import pytest
from pyarrow import parquet

from decoder import TextError, read_file

ROWS = 'id,text,stars\n1,"One, with a comma",5\n2,"Two\nlines",4\n'


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    return to


def test_the_usual_column_or_the_named_or_the_only_one(write):
    assert read_file(write("a.csv", "\ufeff" + ROWS)) == ["One, with a comma", "Two\nlines"]
    other = write("b.csv", ROWS.replace("text", "review"))
    assert read_file(f"{other},review") == ["One, with a comma", "Two\nlines"]
    assert read_file(write("c.CSV", "review\nfine\n")) == ["fine"]
    assert read_file(write("d.csv", "id;text\n1;Kuchen, Tee\n")) == ["Kuchen, Tee"]
    assert read_file(write("e.tsv", "id\ttext\n1\tone, two\n")) == ["one, two"]


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": [1, 2], "content": ["one", None]}), path)
    assert read_file(str(path)) == ["one", ""]
    path.write_bytes(b"no table")
    with pytest.raises(TextError, match="no Parquet table"):
        read_file(str(path))


@pytest.mark.parametrize(
    ("content", "column", "words"),
    [
        ("id,review,stars\n1,good,5\n", "", "name one as .*COLUMN, out of id, review, stars"),
        (ROWS, "story", "no column story; its columns are id, text, stars"),
        (ROWS, "stars", "holds numbers, not text"),
        ("text,id\n,3\n", "", "holds no text"),
        ("", "", "out of none"),
    ],
)
def test_tables_that_are_refused(write, content, column, words):
    path = write("a.csv", content)
    with pytest.raises(TextError, match=words) as caught:
        read_file(f"{path},{column}" if column else path)
    assert "\n" not in str(caught.value)


def test_tables_that_cannot_be_read(tmp_path):
    with pytest.raises(TextError, match="cannot be read"):
        read_file(str(tmp_path / "gone.csv"))
    (tmp_path / "a.csv").write_bytes(b"text\n\xff\xfe\n")
    with pytest.raises(TextError, match="not UTF-8"):
        read_file(str(tmp_path / "a.csv"))
