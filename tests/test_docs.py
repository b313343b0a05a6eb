"""What the documentation shows works: README commands are run, options and files exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart
from pictures import write_class_folders
from tellapart.cli.app import app, run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("[A-Z]*.md")])


def blocks(text: str, language: str = "") -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the README's ``photos`` in it."""
    folder = tmp_path_factory.mktemp("readme")
    write_class_folders(folder / "photos", {"benign": 30, "malignant": 30})
    return folder


def commands() -> list[str]:
    lines = [line for block in blocks(README) for line in block.splitlines()]
    return [line for line in lines if line.startswith("tellapart ")]


def test_the_commands_of_the_readme_run_in_order(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    shown = commands()
    assert [line.split()[1] for line in shown] == ["check", "train", "evaluate", "predict", "export"]
    for line in shown:
        # Sixty tiny pictures are too few for int8 to be sure of agreeing on 98 %.
        extra = ["--force"] if "int8" in line else ["--image-size", "64"] if " train " in line else []
        assert run([*shlex.split(line)[1:], *extra]) == 0, line
    capsys.readouterr()
    promised = next(block for block in blocks(README) if block.startswith("run.json")).split()
    for name in promised:
        if name != "history.jsonl":  # written by fine-tuning only
            assert (workplace / "run" / name.rstrip("/")).exists(), name


def test_the_python_of_the_readme_runs(workplace):
    (code,) = blocks(README, "python")
    code = code.replace('mode="features"', 'mode="features", image_size=64')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d\.\d{4} \[\d\.\d{4}, \d\.\d{4}\]", done.stdout.strip())


def test_the_two_commands_for_newcomers_name_what_exists():
    first, second = (block.strip() for block in blocks(README)[:2])
    assert first.endswith(".venv/bin/tellapart demo")
    assert "'.[train]'" in first
    script = ROOT / second.split()[1]
    assert script.is_file()
    assert script.name in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def option_names() -> set[str]:
    import typer.main

    names, commands = {"--help"}, [typer.main.get_command(app)]
    for command in commands:
        commands += getattr(command, "commands", {}).values()  # a group's, which are read in their turn
        for parameter in command.params:
            names.update([*parameter.opts, *parameter.secondary_opts])
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_mention_exist(page):
    known = option_names() | {"--editable", "--group"}
    for block in re.findall(r"`([^`\n]*--[^`\n]*)`", page.read_text(encoding="utf-8")):
        if "benchmarks/" in block or block.startswith(("pip ", "mypy ")):
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", block):
            if page.name != "README.md" or "pip" not in block:
                assert option in known or page.parent.name == "benchmarks", (page.name, option)


def test_every_command_has_help_and_is_documented():
    import typer.main

    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name, command in typer.main.get_command(app).commands.items():
        assert command.help, name
        assert f"tellapart {name}" in text, name


def test_the_changelog_knows_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {tellapart.__version__}" in changelog or "## Unreleased" in changelog


def test_report_figures_in_the_readme_exist():
    assert (ROOT / "docs" / "report.png").stat().st_size > 10_000


def test_run_json_settings_are_all_documented():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    from dataclasses import fields

    from tellapart.training.config import TrainConfig

    everywhere = text + README + (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    undocumented = [
        field.name
        for field in fields(TrainConfig)
        if not re.search(f"--(no-)?{field.name.replace('_', '-')}", everywhere)
        and field.name not in {"device", "workers", "precision"}
    ]
    assert not undocumented, json.dumps(undocumented)
