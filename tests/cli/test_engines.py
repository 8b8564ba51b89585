"""The options of `pymr run` that choose an external engine, and what a cluster.toml says of it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pymr.base.errors import ConfigError
from pymr.cli.engines import engine_choice
from pymr.config.cluster import load_config
from pymr.runs.info import Backend
from pymr.runs.request import configured_backend


@pytest.mark.parametrize(
    ("arguments", "inline", "says"),
    [
        ((None, "tcp://a:1", ()), False, "need --engine"),
        ((None, None, ("a=1",)), False, "need --engine"),
        (("sprak", None, ()), False, "did you mean spark"),
        (("pymr", None, ()), False, "on pymr's own workers: --set engine=pymr"),
        (("dask", None, ()), True, "exclude each other"),
        (("dask", None, ("a",)), False, "KEY=VALUE"),
    ],
)
def test_what_does_not_choose_an_engine_is_told(
    arguments: tuple[str | None, str | None, tuple[str, ...]], inline: bool, says: str
) -> None:
    with pytest.raises(click.UsageError, match=says):
        engine_choice(*arguments, inline=inline)


def test_no_engine_is_no_choice() -> None:
    assert engine_choice(None, None, (), inline=True) is None


def test_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('[engine_spark]\naddress = "yarn"\noptions = ["spark.a = 1", "b=x=y"]\n')
    config = load_config(str(path))
    chosen = engine_choice("spark", None, ("spark.a=2",), inline=False)
    elsewhere = engine_choice("spark", "spark://h:7077", (), inline=False)
    other = engine_choice("ray", None, (), inline=False)
    assert chosen is not None and elsewhere is not None and other is not None

    options = (("spark.a", "1"), ("b", "x=y"), ("spark.a", "2"))
    assert configured_backend(chosen, config) == Backend("spark", "yarn", options)
    assert configured_backend(elsewhere, config).address == "spark://h:7077"
    assert configured_backend(other, config) == Backend("ray")


def test_an_option_that_is_none_is_refused_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('[engine_ray]\noptions = ["namespace"]\n')
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        load_config(str(path))
