"""The comment on a pull request shows what the gate left as code, and never an older verdict for a newer state."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

WORKFLOW = Path(__file__).resolve().parents[1] / ".github" / "workflows" / "comment.yml"
MARK = "<!-- reformer-suite gate -->"
BOT = {"login": "github-actions[bot]"}
RUN = {
    "head_sha": "c0ffee",
    "head_repository": {"id": 5},
    "html_url": "https://example.org/run",
    "conclusion": "success",
}
PULL = {"number": 31, "head": {"sha": "c0ffee", "repo": {"id": 5}}}
HOSTILE = "# big\n\n```\n@everyone [link](http://x)\r![image](http://y)\n</pre><img src=z>\n    \n````"

AROUND = """
const told = JSON.parse(process.argv[1]);
const calls = [];
const note = (name) => async (what) => { calls.push([name, what]); };
const github = {
  paginate: async (method) => method === 'pulls' ? told.pulls : told.comments,
  rest: {
    pulls: {list: 'pulls'},
    issues: {listComments: 'comments', updateComment: note('update'), createComment: note('create')},
  },
};
const context = {repo: {owner: 'o', repo: 'r'}, payload: {workflow_run: told.run}};
const core = {info: () => {}};
const Script = Object.getPrototypeOf(async () => {}).constructor;
new Script('github', 'context', 'core', 'require', told.script)(github, context, core, require)
  .then(() => console.log(JSON.stringify(calls)));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def commented(folder: Path, **changes: Any) -> list[Any]:  # noqa: ANN401  (whatever GitHub says)
    """What the workflow's script asks GitHub to write, run where the artifact was downloaded."""
    (step,) = (one for one in YAML(typ="safe").load(WORKFLOW)["jobs"]["comment"]["steps"] if "script" in one["with"])
    told = {"run": RUN, "pulls": [PULL], "comments": [], "script": step["with"]["script"]} | changes
    done = subprocess.run(
        ["node", "-e", AROUND, json.dumps(told)], cwd=folder, capture_output=True, text=True, check=True
    )
    calls: list[Any] = json.loads(done.stdout)
    return calls


def verdict(folder: Path, text: str) -> Path:
    (folder / "gate").mkdir()
    path = folder / "gate" / "verdict.md"
    path.write_bytes(text.encode())
    return path


def body(calls: list[Any]) -> str:
    ((_, written),) = calls
    assert written["body"].startswith(MARK)
    return str(written["body"]).removeprefix(MARK)


def test_every_line_of_the_verdict_is_code(tmp_path: Path) -> None:
    verdict(tmp_path, HOSTILE)
    head, shown = body(commented(tmp_path)).split("\n\n", maxsplit=1)
    assert "c0ffee" in head
    assert not any(word in head for word in ("big", "everyone", "image"))
    assert shown.split("\n") == [f"    {line}" for line in HOSTILE.replace("\r", "\n").split("\n")]


@pytest.mark.parametrize("left", ["nothing", "blank", "link", "folder", "too much"])
def test_without_a_verdict_an_older_comment_says_so(left: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    if left != "nothing":
        path = verdict(tmp_path, "\n" if left == "blank" else "much " * 2001)
    if left in ("link", "folder"):
        path.unlink()
    if left == "link":
        path.symlink_to(tmp_path / "secret")
    if left == "folder":
        path.mkdir()
    older = {"id": 7, "user": BOT, "body": f"{MARK}\npassed"}
    calls = commented(tmp_path, comments=[older], run=RUN | {"conclusion": "failure"})
    assert [(name, written["comment_id"]) for name, written in calls] == [("update", 7)]
    text = body(calls)
    assert "no verdict" in text
    assert "c0ffee" in text
    assert "failure" in text
    assert "secret" not in text
    assert "much" not in text


def test_only_a_comment_of_its_own_is_changed(tmp_path: Path) -> None:
    """Anybody may begin a comment with the mark, and other bots have accounts of their own."""
    others = [{"id": 1, "user": {"login": name}, "body": MARK} for name in ("someone", "other[bot]")]
    ((name, written),) = commented(tmp_path, comments=[*others, {"id": 2, "user": None, "body": MARK}])
    assert (name, written["issue_number"]) == ("create", 31)


@pytest.mark.parametrize(
    "pulls",
    [
        [],
        [PULL, PULL | {"number": 32}],
        [PULL | {"head": {"sha": "c0ffee", "repo": {"id": 6}}}],
        [PULL | {"head": {"sha": "c0ffee", "repo": None}}],
        [PULL | {"head": {"sha": "beef", "repo": {"id": 5}}}],
    ],
    ids=["none", "two", "another repository's", "of a repository that is gone", "gone on since"],
)
def test_what_cannot_be_told_apart_gets_no_comment(pulls: list[object], tmp_path: Path) -> None:
    assert commented(tmp_path, pulls=pulls) == []
