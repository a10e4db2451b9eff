"""deploy/systemd: the units are whole and hardened, and a real systemd runs them with all their restrictions."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.captures import capture
from tests.support.newcomer import Newcomer
from tests.support.systemd import TOP, typed
from tests.support.trees import tree

UNITS = TOP / "deploy/systemd"
SERVICE = "drydock-metrics.service"
TEXTFILES = "/var/lib/prometheus/node-exporter"
DOCKER = "docker-28.5-interrupted-pull"
_CHANGING = re.compile(
    r"^(?:# .*|drydock_scan_.*|drydock_oldest_.*|drydock_live.*|drydock_file_system_(?:used|free).*)$\n", re.MULTILINE
)
"""Lines that the clock of the scan is in."""
_PROBE = """\
import ctypes, errno, os, socket, sys

def fails(why, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == why, (call, arguments, error)
    else:
        raise AssertionError((call, arguments))

status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 2, status["CapEff"]  # CAP_DAC_READ_SEARCH
assert status["NoNewPrivs"].strip() == "1"
for folder in ("/var/lib/docker", "/usr/local", "/etc", "/home", "/root"):
    fails(errno.EROFS, open, folder + "/probe", "w")
with open("/var/lib/drydock-probe/of-another") as file:
    assert file.read() == "private"
fails(errno.EROFS, os.unlink, "/var/lib/drydock-probe/of-another")
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    fails(errno.EAFNOSUPPORT, socket.socket, family)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"/", b"/mnt", None, 4096, None) == -1 and ctypes.get_errno() == errno.EPERM
assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == errno.EPERM
libc.mmap.restype = ctypes.c_ssize_t
assert libc.mmap(None, 4096, 7, 0x22, -1, 0) == -1 and ctypes.get_errno() == errno.EPERM
with open("%(textfiles)s/probe", "w") as file:
    file.write("whole")
fails(errno.EPERM, os.chown, "%(textfiles)s/probe", 1, 1)
fails(errno.EACCES, open, "/proc/1/environ")
"""


@pytest.fixture
def units(tmp_path):
    """The units, in a folder of their own, with a program at the path that they name."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    for path in UNITS.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def analyze(*words):
    """What systemd-analyze answers."""
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)


def test_the_units_are_whole(units):
    """systemd-analyze verify has nothing to say, and would about a misspelt setting."""
    service = units / SERVICE
    service.write_text(service.read_text().replace("/usr/local/bin/drydock", "/bin/true"))
    done = analyze("verify", *units.iterdir())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    service.write_text(service.read_text().replace("ProtectClock", "ProtectClocks"))
    assert "ProtectClocks" in analyze("verify", service).stderr


def test_the_service_is_hardened(units):
    """Its exposure by systemd-analyze security is at most 1.0 of 10: it runs as root, because it reads everything."""
    done = analyze("security", "--offline=true", "--threshold=10", units / SERVICE)
    assert done.returncode == 0, done.stdout
    assert analyze("security", "--offline=true", "--threshold=5", units / SERVICE).returncode != 0


@pytest.fixture
def textfiles(tmp_path):
    """The folder that node_exporter reads, as Debian makes it: of root, for all to read."""
    place = tmp_path / "textfiles"
    place.mkdir(mode=0o755)
    return place


@pytest.mark.root
@pytest.mark.slow
def test_the_commands_of_the_page_make_metrics(unpacked, textfiles, tmp_path):
    """Typed where systemd runs: the metrics are those of a scan without restrictions, and the timer waits for the next.

    Nothing in the store changes, and node_exporter, another user, may read the file.
    """
    host = unpacked(capture(DOCKER))
    docker = host / capture(DOCKER).docker
    before = tree(docker)
    page = (TOP / "docs/deploy.md").read_text()
    (commands,) = re.findall(r"^## Metrics by a timer\n.*?\n((?:    [^\n]*\n)+)", page, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in commands.splitlines()]
    assert lines[-1] == f"head {TEXTFILES}/drydock.prom"
    lines += [
        f"systemctl show -P Result -P ExecMainStatus {SERVICE}",
        "systemctl is-active drydock-metrics.timer",
        "systemctl is-enabled drydock-metrics.timer",
        f"setpriv --reuid=65534 --regid=65534 --clear-groups wc -l {TEXTFILES}/drydock.prom",
    ]
    status, output = typed(tmp_path, {docker: "/var/lib/docker", textfiles: TEXTFILES}, lines)
    assert status == 0, output
    assert tree(docker) == before
    answers = [line for line in output.splitlines() if not line.startswith("+ ")]
    assert answers[-5:-1] == ["success", "1", "active", "enabled"], output
    written = (textfiles / "drydock.prom").read_text()
    assert [path.name for path in textfiles.iterdir()] == ["drydock.prom"]
    work = tmp_path / "work"
    work.mkdir()
    with Newcomer(docker, work, {}) as newcomer:
        printed = newcomer.types("drydock scan --live --format prometheus")
    assert 'drydock_reclaimable_bytes{root="/var/lib/docker/containerd/daemon"}' in written
    assert _CHANGING.sub("", written) == _CHANGING.sub("", printed)


@pytest.mark.root
@pytest.mark.slow
def test_the_service_can_only_read(unpacked, textfiles, tmp_path):
    """What it must not do fails in a real systemd, each for its own reason; it reads a file of another user's."""
    host = unpacked(capture(DOCKER))
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "of-another").write_text("private")
    (private / "of-another").chmod(0o600)
    shutil.chown(private / "of-another", 1234, 1234)
    shutil.chown(private, 1234, 1234)
    probe = tmp_path / "probe.py"
    probe.write_text(_PROBE % {"textfiles": TEXTFILES})
    drop_in = "[Service]\\nExecStart=\\nExecStart=/usr/bin/python3 /srv/probe/probe.py\\nSuccessExitStatus=\\n"
    lines = [
        f"cp deploy/systemd/{SERVICE} /etc/systemd/system/",
        f"mkdir /etc/systemd/system/{SERVICE}.d",
        f"printf '{drop_in}' >/etc/systemd/system/{SERVICE}.d/probe.conf",
        "systemctl daemon-reload",
        f"systemctl start {SERVICE}",
    ]
    (tmp_path / "shown").mkdir()
    shutil.move(probe, tmp_path / "shown/probe.py")
    shown = {
        host / capture(DOCKER).docker: "/var/lib/docker",
        private: "/var/lib/drydock-probe",
        tmp_path / "shown": "/srv/probe",
        textfiles: TEXTFILES,
    }
    status, output = typed(tmp_path / "boot", shown, lines)
    assert status == 0, output
    assert (textfiles / "probe").read_text() == "whole"


@pytest.mark.root
@pytest.mark.slow
def test_a_scan_that_fails_is_a_failed_unit(textfiles, tmp_path):
    """Where the store cannot be read whole the unit fails, with drydock's own status: a timer's failure is seen."""
    docker = tmp_path / "docker"
    database = docker / "containerd/daemon/io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 1000)
    lines = [
        f"cp deploy/systemd/{SERVICE} /etc/systemd/system/",
        "systemctl daemon-reload",
        f"systemctl start {SERVICE} || systemctl show -P Result -P ExecMainStatus {SERVICE}",
    ]
    status, output = typed(tmp_path / "boot", {docker: "/var/lib/docker", textfiles: TEXTFILES}, lines)
    assert status == 0, output
    assert output.splitlines()[-2:] == ["exit-code", "10"], output  # damage, and not all could be read


def test_paths_agree():
    """The service may write the folder that its command writes, and nothing else."""
    text = (UNITS / SERVICE).read_text()
    (written,) = re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)
    assert written == TEXTFILES
    assert str(Path(re.findall(r" -o (\S+)$", text, re.MULTILINE)[0]).parent) == written
