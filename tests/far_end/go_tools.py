"""Go from its package, and a cache in which its standard library is compiled: that takes half a minute, once."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from fleet.config import MachineConfig
from tests.far_end.tools import GATE_TOOLS
from tests.scenarios.gate_house import airboss_toml

GO = Path(sysconfig.get_path("purelib")) / "go" / "bin" / "go"
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "go-build"
_PROGRAM = """package warm

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"syscall"
	"testing"
)

var _ = []any{errors.New, fmt.Println, os.Exit, reflect.DeepEqual, runtime.GC, syscall.Exit}

func TestWarm(t *testing.T) {}
"""


def warm_cache() -> Path:
    """The cache, filled."""
    with tempfile.TemporaryDirectory() as room:
        (Path(room) / "go.mod").write_text("module example.com/warm\n\ngo 1.22\n")
        (Path(room) / "warm_test.go").write_text(_PROGRAM)
        env = {"GOCACHE": str(_CACHE), "HOME": room, "PATH": os.environ["PATH"], "GOTOOLCHAIN": "local"}
        subprocess.run([GO, "test", "-vet=off", "./..."], cwd=room, env=env, check=True, capture_output=True)
    return _CACHE


def go_machine(home: Path, cache: Path) -> MachineConfig:
    """This machine, with Go and the cache, which runs cannot write."""
    read = [*GATE_TOOLS["gate_read"], str(cache)]
    values = {"executor": "local", "labels": ["linux"], "home": str(home), **GATE_TOOLS, "gate_read": read}
    return MachineConfig.model_validate(values)


def go_gate(cache: Path) -> str:
    """A repository's file with one gate that runs Go's tests, on top of the cache."""
    filled = f'cp -rs "{cache}" "$HOME/build" && GOCACHE="$HOME/build" GOTOOLCHAIN=local'
    return airboss_toml("sh", "-c", f"{filled} exec {GO} test -vet=off ./...", timeout="120s")
