"""Where known programs keep their logs, so that a log can be named by its program: ``--errors vm:opencode``.

A place is a pattern of the shell, relative to nothing but the variables in it. Programs keep one file that they append to, or begin one for each run or
conversation; so all that match are followed that were written to last, and each that appears later from its start.
"""

from __future__ import annotations

_DATA = '"${XDG_DATA_HOME:-$HOME/.local/share}"'
#: Source: opencode 1.18 on Linux (measured; on macOS it has the same folder); the documentation of Codex and Claude Code.
PLACES = {
    "opencode": f"{_DATA}/opencode/log/*.log",
    "codex": '"${CODEX_HOME:-$HOME/.codex}"/log/*.log',
    "claude-code": '"${CLAUDE_CONFIG_DIR:-$HOME/.claude}"/projects/*/*.jsonl',
}
#: Names of their processes.
PROCESSES = {"opencode": "opencode", "codex": "codex", "claude-code": "claude"}
MOST = 8  #: files of one program that are followed from the beginning; those that were written to last

#: Follows the logs of a program. ``$1``: its place, which is ours and no stranger's, so it is evaluated.
SCRIPT = r"""
newest() { eval "ls -dt -- $1" 2>/dev/null | head -n "$2"; }
seen="
" pids=
trap '[ -n "$pids" ] && kill $pids; exit 0' TERM
old=$(newest "$1" 9999)
[ -n "$old" ] || echo "%%netlens missing"
while :; do
  while IFS= read -r file; do
    [ -n "$file" ] || continue
    case "$seen" in *"
$file
"*) continue ;; esac
    [ "$seen" != "
" ] || echo "%%netlens follows $file"
    seen="$seen$file
"
    from=+1
    case "
$old
" in *"
$file
"*) from=0 ;; esac
    tail -n "$from" -F -- "$file" 2>/dev/null & pids="$pids $!"
  done <<END
$(newest "$1" 8)
END
  sleep 1 >/dev/null & wait $!
done
"""


def script(named: str) -> list[str] | None:
    """The command that follows the logs of a program; None if it is not a program's name that is known."""
    return ["sh", "-c", SCRIPT, "netlens", PLACES[named]] if named in PLACES else None
