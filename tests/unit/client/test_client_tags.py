"""Changing tags."""

from __future__ import annotations

import pytest
from client_runs import Writer

from asyncflow.client import Run
from asyncflow.client.tags import checked
from asyncflow.errors import MetaflowTaggingError


@pytest.fixture
def run(root):
    Writer(root, "100", tags=("old",))
    return Run("MovieFlow/100")


def test_tags_are_added_removed_and_replaced(run):
    run.add_tag("a")
    run.add_tags(["b", "c"])
    run.add_tag(["d", "e"])
    assert run.user_tags == {"old", "a", "b", "c", "d", "e"}
    run.remove_tag("a")
    run.remove_tags(["b", "c", "never there"])
    assert run.user_tags == {"old", "d", "e"}
    run.replace_tag("d", "f")
    run.replace_tags(["e", "f"], ["f", "g"])
    assert run.user_tags == {"old", "f", "g"}


def test_a_string_is_one_tag(run):
    run.add_tags("abc")
    assert run.user_tags == {"old", "abc"}


def test_another_object_of_the_run_sees_it(run):
    other = Run("MovieFlow/100")
    run.add_tag("a")
    assert "a" in other.tags


@pytest.mark.parametrize("tag", ["ünï ☃ 🎉", "a/b:c d", " ", "x" * 500, "line\nbreak", "null\0"])
def test_any_unicode_text_is_a_tag(run, tag):
    run.add_tag(tag)
    assert tag in Run("MovieFlow/100").user_tags
    run.remove_tag(tag)
    assert tag not in run.user_tags


@pytest.mark.parametrize("tag", ["", "x" * 501, 3, None, b"bytes", ["ok", ""], ["ok", 3], [["nested"]], "\udc80"])
def test_what_is_no_tag_is_refused_and_changes_nothing(run, tag):
    with pytest.raises(MetaflowTaggingError):
        run.add_tag(tag)
    assert run.user_tags == {"old"}


def test_nothing_to_do_is_an_error(run):
    with pytest.raises(MetaflowTaggingError, match="no tag"):
        run.add_tags([])
    with pytest.raises(MetaflowTaggingError, match="no tag"):
        run.replace_tags([], [])


def test_a_run_has_at_most_fifty(run):
    run.add_tags([f"t{i}" for i in range(49)])
    with pytest.raises(MetaflowTaggingError, match="50"):
        run.add_tag("one more")
    run.add_tag("t3")
    run.replace_tag("t3", "one more")
    assert len(run.user_tags) == 50


def test_system_tags_stay(run):
    for change in (
        lambda: run.remove_tag("user:ann"),
        lambda: run.remove_tags(["old", "runtime:dev"]),
        lambda: run.replace_tag("user:ann", "x"),
    ):
        with pytest.raises(MetaflowTaggingError, match=r"user:ann|runtime:dev"):
            change()
    assert run.user_tags == {"old"}
    run.add_tag("user:ann")
    assert run.user_tags == {"old"}


def test_checked_keeps_order_and_each_once():
    assert checked(["b", "a", "b"]) == ("b", "a")
    assert checked("one") == ("one",)
    assert checked(()) == ()
