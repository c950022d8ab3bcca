"""Runs the notebooks from top to bottom, keeps their outputs, and makes a page of the documentation of them.

python tools/notebook.py           exit 1 if a cell fails, or prints something else than is kept
python tools/notebook.py --write   keeps what the cells print, and writes docs/notebook.md with its pictures

Outputs are kept without times and counters of execution, so that a notebook changes only where what it says changes. Pictures are not compared:
their bytes depend on the version of matplotlib.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "investigation.ipynb"
PAGE = ROOT / "docs" / "notebook.md"
IMAGES = ROOT / "docs" / "images"
MADE = "<!-- made by tools/notebook.py from notebooks/investigation.ipynb: edit that, then run `make notebook` -->\n\n"
TIMEOUT_S = 600


def executed(path: Path) -> Any:
    """The notebook with the outputs of a run in its own folder.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="netlens-") as folder:
        where = {"metadata": {"path": str(path.parent)}}
        # the kernel sends what was printed so far whenever its timer says so, even in the middle of a line: pieces are put together again
        client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", coalesce_streams=True, resources=where)
        client.create_kernel_manager()
        # the kernel is this interpreter, reached by sockets of this folder, and knows no profile of the user's
        client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        client.km.transport, client.km.ip = "ipc", f"{folder}/k"
        client.execute(env={**os.environ, "IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """Without what changes from run to run."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    return notebook


def said(cell: Any) -> list[str]:
    """What a cell's outputs say, as text; of a picture that it is one."""
    out = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            out.append(f"{output.name}: {output.text}")
        elif output.output_type == "error":
            out.append(f"{output.ename}: {output.evalue}")
        elif "image/png" in output.data:
            out.append("picture")
        else:
            out.append(str(output.data.get("text/plain", "")))
    return out


def differences(kept: Any, new: Any) -> list[str]:
    found = []
    for number, (a, b) in enumerate(zip(kept.cells, new.cells, strict=True)):
        if said(a) != said(b):
            found.append(f"cell {number}: kept {said(a)!r:.600}, now {said(b)!r:.600}")
    return found


def page(notebook: Any) -> str:
    """The notebook as a page; its pictures are written beside the others."""
    parts: list[str] = []
    pictures = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source.replace("](../docs/", "](")
            parts.append(text + "\n\n")
            if not parts[1:]:
                parts.append(MADE)
            continue
        parts.append(f"```python\n{cell.source}\n```\n\n")
        for output in cell.outputs:
            data = output.get("data", {})
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.rstrip()}\n```\n\n")
            elif "image/png" in data:
                pictures += 1
                name = f"notebook-{pictures}.png"
                (IMAGES / name).write_bytes(base64.b64decode(data["image/png"]))
                alt = re.search(r"alt=\"([^\"]+)\"", cell.source)
                parts.append(f"![{alt[1] if alt else 'A picture made by the cell above'}](images/{name})\n\n")
            elif "text/html" in data:
                html = re.sub(r"<style.*?</style>\n?", "", data["text/html"], flags=re.S)
                html = re.sub(r"^\s+|\n", "", html, flags=re.M)
                parts.append(f'<div class="nb-output" markdown="0">{html}</div>\n\n')
            else:
                parts.append(f"```text\n{data.get('text/plain', '').rstrip()}\n```\n\n")
    return "".join(parts).rstrip() + "\n"


def main() -> int:
    kept = nbformat.read(NOTEBOOK, as_version=4)
    new = executed(NOTEBOOK)
    if "--write" in sys.argv[1:]:
        nbformat.write(new, NOTEBOOK)
        PAGE.write_text(page(new), encoding="utf-8")
        return 0
    found = differences(kept, new)
    for each in found:
        sys.stderr.write(f"{each}\n")
    if found:
        sys.stderr.write("the notebook says something else than is kept; run `make notebook`, and read it\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
