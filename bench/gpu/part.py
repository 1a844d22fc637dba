"""What the parts of `run` share: commands with a deadline, and files of what was found that outlast a kill."""

import contextlib
import datetime
import gzip
import json
import os
import platform
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Part:
    """A part of the measurements: its deadline, what it found, its files."""

    def __init__(self, name: str, out: Path, seconds: float):
        self.name, self.out, self.seconds = name, out, seconds
        self.start = time.monotonic()
        date = datetime.date.today().isoformat()
        self.figures: dict = {"part": name, "date": date, "machine": machine(), "commands": []}
        # Title, head and rows; rows may still be added to.
        self.tables: list[tuple[str, list[str], list[list]]] = []
        self.failed: list[list[str]] = []
        # Each with the command that gave it first.
        self.warnings: dict[str, str] = {}

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.start)

    def run(self, command: list[str], limit: float, **variables: str) -> dict:
        """Runs a command for `limit` seconds at most, with further variables of the environment, and says how it went."""
        limit = min(limit, self.left())
        words = [f"{name}={value}" for name, value in variables.items()]
        words += ["…" if "\n" in word else Path(word).name if word.startswith("/") else word for word in command]
        shown = " ".join(words)
        self.figures["running"] = shown
        self.write()
        if limit < 5.0:
            result = {"failed": "no time was left"}
        else:
            print(f"{self.name}: {shown}", flush=True)
            result = call(command, limit, variables)
        del self.figures["running"]
        self.figures["commands"].append({"command": shown, **result})
        if "failed" in result:
            self.failed.append([shown, result["failed"]])
        for warning in result.get("warnings", []):
            self.warnings.setdefault(warning, shown)
        return result

    def table(self, title: str, head: list[str], rows: list[list]) -> None:
        self.tables.append((title, head, rows))

    def text(self) -> str:
        facts = [f"- {key}: {value}" for key, value in self.figures["machine"].items()]
        if "running" in self.figures:
            facts.append(f"- ended while this ran: {self.figures['running']}")
        failed = ("What failed", ["command", "why"], self.failed)
        warnings = ("Warnings", ["warning", "first given by"], [[text, command] for text, command in self.warnings.items()])
        tables = [markdown(*table) for table in (*self.tables, failed, warnings) if table[2]]
        return "\n\n".join([f"# {self.name}, {self.figures['date']}", "\n".join(facts), *tables])

    def write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.figures["seconds"] = round(time.monotonic() - self.start, 1)
        stem = self.out / f"{self.figures['date']}-{self.name}"
        for ending, text in (("json", json.dumps(self.figures, indent=1)), ("md", self.text())):
            # Aside first: a kill may come at any time.
            new = Path(f"{stem}.{ending}.new")
            new.write_text(text + "\n")
            new.replace(f"{stem}.{ending}")


def markdown(title: str, head: list[str], rows: list[list]) -> str:
    """A table in Markdown."""
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = ("" if cell is None else str(cell).replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def call(command: list[str], limit: float, variables: dict[str, str]) -> dict:
    """Runs a command for `limit` seconds at most: what it printed, what it warned of, why it failed if it did."""
    start, stopped = time.monotonic(), None
    # Files, since pipes stay open as long as any child of the command does.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # A group of its own, to be ended with all its children, but no session of its own: if this program is killed, whoever
        # looks for what it left behind finds the command.
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment() | variables, process_group=0,
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )
        except OSError as error:
            return {"failed": str(error)}
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            stopped = f"cut off after {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        result: dict = {"seconds": round(time.monotonic() - start, 1)}
        for name, file in (("output", output), ("errors", errors)):
            file.seek(0)
            result[name] = file.read().decode(errors="replace")
    lines = result["errors"].splitlines()
    # Without the time, in which the same warnings differ.
    warnings = dict.fromkeys(re.sub(r"^\d{4}-\d\d-\d\dT\S+\s+", "", line) for line in lines if "WARN" in line)
    result |= {"errors": result["errors"][-4000:], "warnings": list(warnings)}
    if stopped or process.returncode != 0:
        result["failed"] = stopped or ": ".join([f"exit code {process.returncode}", *lines[-1:]])[:200]
    return result


def environment() -> dict:
    """The environment with the folders of CUDA's libraries on the loader's path."""
    folders = []
    for packages in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]:
        folders += sorted(str(folder) for folder in Path(packages or ".").glob("nvidia/*/lib") if folder.is_dir())
    folders += ["/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", os.environ.get("LD_LIBRARY_PATH", "")]
    path = ":".join(dict.fromkeys(folder for folder in folders if folder))
    modules = ":".join(filter(None, [str(ROOT / "bench/pytorch"), os.environ.get("PYTHONPATH")]))
    # Unasked, the program doesn't say that a pass can't be recorded.
    return {**os.environ, "LD_LIBRARY_PATH": path, "PYTHONPATH": modules, "RUST_LOG": "warn"}


def program() -> str:
    candidates = [os.environ.get("ADAUTOMIX_BIN"), ROOT / ".gpu/adautomix.gz", ROOT / "target/cuda/release/adautomix"]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            packed = str(candidate).endswith(".gz")
            if packed or not os.access(candidate, os.X_OK):
                copy = Path(tempfile.mkdtemp()) / "adautomix"
                with (gzip.open if packed else open)(candidate, "rb") as source, copy.open("wb") as target:
                    shutil.copyfileobj(source, target)
                copy.chmod(0o755)
                return str(copy)
            return str(Path(candidate).resolve())
    sys.exit("error: no program: build it as the header of bench/gpu/run says, or set ADAUTOMIX_BIN")


def machine() -> dict:
    def ask(command: list[str]) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    smi = ask(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    device = dict(zip(("device", "driver", "memory"), smi.partition("\n")[0].split(", ")))
    torch = ask([sys.executable, "-c", "import torch; print(torch.__version__, 'cudnn', torch.backends.cudnn.version())"])
    commit = ask(["git", "-C", str(ROOT), "rev-parse", "HEAD"])
    return {**device, "PyTorch": torch, "Python": platform.python_version(), "commit": commit or None}


def last_json(result: dict) -> dict | None:
    """The JSON that a command printed, alone or as its last line."""
    text = result.get("output", "").strip()
    for candidate in (text, text.splitlines()[-1] if text else ""):
        try:
            return json.loads(candidate)
        except json.JSONDecodeError:
            continue
    return None


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
