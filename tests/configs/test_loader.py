"""The strict loader: unknown keys are refused, with the most similar known key."""

from pathlib import Path

import pytest

from afterview.configs import ConfigError, Schema, load, preset_names, preset_path, read_yaml


class Forgetting(Schema):
    stride: int = 4
    ratio: float = 0.25


class Live(Schema):
    camera: str
    forgetting: Forgetting = Forgetting()
    layers: tuple[Forgetting, ...] = ()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "live.yaml"
    path.write_text(text)
    return path


def test_reads_nested_values(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "camera: door\nforgetting: {stride: 2}\n"), Live)
    assert loaded == Live(camera="door", forgetting=Forgetting(stride=2))
    with pytest.raises(Exception, match="frozen"):
        loaded.camera = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera: a\nforgetting: {strid: 2}", "live.yaml: forgetting.strid: unknown key; did you mean 'stride'?"),
        ("camera: a\nlayers: [{ratoi: 2}]", "live.yaml: layers.0.ratoi: unknown key; did you mean 'ratio'?"),
        ("camera: a\nzzz: 1", "live.yaml: zzz: unknown key"),
        ("forgetting: {}", "live.yaml: camera: is missing"),
        ("camera: a\nforgetting: {stride: many}", "live.yaml: forgetting.stride: .*many"),
        ("- a\n- b", "live.yaml: must hold keys with values"),
        ("camera: [", "live.yaml: not valid YAML"),
        ("", "camera: is missing"),
    ],
)
def test_errors_are_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, text), Live)
    assert "\n" not in str(caught.value)


def test_missing_file_and_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load("/nowhere/at/all.yaml", Live)
    assert "tiny" in preset_names()
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        preset_path("tinny")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nseed: 1\nseed: 2\n", "a.yaml: key 'seed' is given twice, again in line 3"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "key 'b' is given twice, again in line 4"),
        ("name: x\n\tseed: 1\n", "a.yaml: not valid YAML in line 2; indent by blanks, not by tabs"),
        ("name: [1,\nseed: }", "a.yaml: not valid YAML in line 2; check colons, indentation, quotes and brackets"),
        ("when: 2026-99-99", "a.yaml: not valid YAML"),
        ("\x01", "a.yaml: not valid YAML"),
        ("- a", "a.yaml: must hold keys with values, such as `name: mine`; it holds a list"),
        ("7", "it holds a number"),
    ],
)
def test_mistakes_of_yaml_are_told_in_plain_words(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.yaml", Schema)
    assert said in str(caught.value)


def test_a_key_may_be_taken_from_elsewhere_and_given_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n")
    assert read_yaml(tmp_path / "a.yaml")["two"] == {"a": 1, "b": 3}
