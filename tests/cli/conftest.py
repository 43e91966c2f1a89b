"""A folder of pictures and networks to call the command line in."""

import pytest
from command_line import CommandLine, pictures


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    pictures(folder)
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """The working directory of one test, with links to the pictures."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tapetum(capsys):
    return CommandLine(capsys)
