"""deploy/kubernetes: the manifest is what the API's schema asks for, and its containers do what they are for."""

import copy
import json
import os
import shutil
import subprocess
import tarfile

import kubernetes_validate
import pytest
import yaml
from release.image import NAME, image_archive
from tests.engines.containerd import PAUSE
from tests.engines.cri import Cri
from tests.engines.hosts import docker_on, newest, newest_on
from tests.engines.images import Image, busybox_layer, write_archive
from tests.engines.listing import listed, names
from tests.engines.sandbox import Sandbox, wait_for
from tests.support.captures import capture
from tests.support.documents import recorded
from tests.support.newcomer import TOP

NAMESPACE, DAEMON_SET = yaml.safe_load_all((TOP / "deploy/kubernetes/daemonset.yaml").read_text())
POD = DAEMON_SET["spec"]["template"]["spec"]
CONTAINERS = {each["name"]: each for each in POD["containers"]}
STORE = "/var/lib/containerd"
IMAGE = CONTAINERS["metrics"]["image"]
NODE = "node-7"
ARCHITECTURES = ("x86_64", "aarch64")
DOCKER = "docker-28.5-interrupted-pull"
OVERLAYFS = "containerd-2.4-overlayfs"


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_schema_of_the_api(version):
    """Kubernetes' own schema takes both objects, with no field that it does not know; it finds a misspelt one."""
    for each in (NAMESPACE, DAEMON_SET):
        kubernetes_validate.validate(each, version, strict=True)
    wrong = copy.deepcopy(DAEMON_SET)
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_what_no_schema_says():
    """The selector finds the pods, each mount has a volume, and only what is written to can be written to."""
    assert {each["image"] for each in CONTAINERS.values()} == {NAME.removeprefix("docker.io/library/")}
    labels = DAEMON_SET["spec"]["template"]["metadata"]["labels"]
    assert DAEMON_SET["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert DAEMON_SET["metadata"]["namespace"] == NAMESPACE["metadata"]["name"]
    volumes = {each["name"]: each["hostPath"] for each in POD["volumes"]}
    assert volumes["containerd"] == {"path": STORE, "type": "Directory"}
    for name, container in CONTAINERS.items():
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert {each["name"] for each in mounts.values()} == {"containerd", name}
        (writable,) = [path for path, each in mounts.items() if not each.get("readOnly")]
        arguments = container["args"]
        assert os.path.dirname(arguments[arguments.index("-o") + 1]) == writable
        assert arguments[-1] == STORE
        assert {"--live", "--every"} <= set(arguments)
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.slow
def test_its_containers_beside_the_engine_that_runs_them(native_program, unpacked_anew, tmp_path):
    """The one file is all that the image has. The CRI runs it with the manifest's rights, on its own root, read-only.

    What it writes has the blobs and snapshots that ctr lists, and SIGTERM ends it before the kubelet would kill it.
    """
    of = capture(OVERLAYFS)
    host = unpacked_anew(of)
    for planted in of.planted:
        # containerd makes no snapshot in whose place a directory lies already. And data without a record is left out
        # until it is a minute old: one of the two containers could meet it, and the other not.
        before, within, name = planted["path"].partition("/snapshots/")
        path = host / of.root / (f"{before}/snapshots/{name.partition('/')[0]}" if within else before)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    images = tmp_path / "images"
    images.mkdir()
    (images / "drydock.tar").write_bytes(image_archive({os.uname().machine: native_program.read_bytes()}, 0))
    write_archive(images / "pause.tar", {PAUSE: Image((busybox_layer(),), command=("/bin/busybox", "sleep", "1d"))})
    written = {name: tmp_path / name for name in CONTAINERS}
    for folder in written.values():
        folder.mkdir()
    files = {"metrics": written["metrics"] / "drydock.prom", "documents": written["documents"] / f"{NODE}.json"}
    work = tmp_path / "work"
    work.mkdir()
    with (
        Sandbox(work, programs=newest()) as sandbox,
        newest_on(sandbox, host, "overlayfs", collect=False) as engine,
    ):
        shown = {name: sandbox.show(folder, f"/run/{name}") for name, folder in written.items()}
        for archive in ("drydock.tar", "pause.tar"):
            at = sandbox.show(images, "/run/images") / archive
            engine.ctr_text("images", "import", at, namespace="k8s.io")
        cri = Cri(engine)
        pod = cri.pod("node")
        made = {}
        for name, container in CONTAINERS.items():
            made[name] = cri.configured(pod, as_cri(container, engine.root, shown[name]))
            cri.start(made[name])
        states = {name: cri.state(each) for name, each in made.items()}
        for name, file in files.items():
            wait_for(file.exists, 60.0, f"{name}: {states[name]}")
        before = names(listed(engine))
        for each in made.values():
            assert cri.state(each)["state"] == "CONTAINER_RUNNING"
            cri("stop", "--timeout", "20", each)
            assert cri.state(each)["exitCode"] == 130
    (root,) = json.loads(files["documents"].read_text())["roots"]
    assert root["live"] is True
    assert root["complete"] is True
    assert root["path"] == STORE
    assert {"content", "snapshots"} <= set(recorded(root)["k8s.io"])
    for namespace, kinds in recorded(root).items():
        for kind, found in kinds.items():
            assert found == before[namespace][kind]
    metrics = files["metrics"].read_text()
    assert f'drydock_complete{{root="{STORE}"}} 1\n' in metrics
    assert f'drydock_reclaimable_bytes{{root="{STORE}"}} {root["reclaimable"]["bytes"]}\n' in metrics


@pytest.mark.root
@pytest.mark.engine
@pytest.mark.slow
def test_docker_loads_its_image(native_program, unpacked_anew, tmp_path):
    """Of several architectures it takes its own. A container has the one file alone, and lists that Docker's images."""
    of = capture(DOCKER)
    host = unpacked_anew(of)
    rights = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--cap-add", "DAC_READ_SEARCH")
    with docker_on(of, host, tmp_path / "docker") as docker:
        docker.docker("load", stdin=image_archive(dict.fromkeys(ARCHITECTURES, native_program.read_bytes()), 0))
        there = docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        document = docker.docker(
            "run", "--rm", *rights, "-v", "/var/lib/docker:/var/lib/docker:ro", IMAGE, "ls", "images", "--live",
            "--format", "json",
        )  # fmt: skip
    assert IMAGE in there
    (root,) = json.loads(document)["roots"]
    found = {each["name"].removeprefix("docker.io/library/") for each in root["images"]}
    assert set(there) - {"<none>:<none>"} <= found


@pytest.mark.slow
def test_skopeo_reads_its_image(program, tmp_path):
    """Every digest and size is right, of each architecture, alone and of both; it is of the day that is asked for."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    of_both = tmp_path / "both.tar"
    of_both.write_bytes(image_archive(dict.fromkeys(ARCHITECTURES, program.read_bytes()), 1_700_000_000))
    alone = tmp_path / "alone.tar"
    alone.write_bytes(image_archive({"aarch64": program.read_bytes()}, 1_700_000_000))
    for number, (archive, name) in enumerate(((of_both, "amd64"), (of_both, "arm64"), (alone, "arm64"))):
        copied = tmp_path / str(number)
        command = [
            skopeo,
            "--override-arch",
            name,
            "--insecure-policy",
            "copy",
            f"oci-archive:{archive}",
            f"dir:{copied}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        manifest = json.loads((copied / "manifest.json").read_text())
        config = json.loads((copied / manifest["config"]["digest"].partition(":")[2]).read_text())
        assert (config["architecture"], config["created"]) == (name, "2023-11-14T22:13:20Z")
        (layer,) = manifest["layers"]
        with tarfile.open(copied / layer["digest"].partition(":")[2]) as tar:
            (entry,) = tar.getmembers()
            assert (entry.name, entry.mode, entry.uid) == ("drydock", 0o755, 0)
            assert tar.extractfile(entry).read() == program.read_bytes()


def as_cri(container, root, output):
    """A container of the manifest as the kubelet tells it the CRI; the pod's node has a name."""
    context = container["securityContext"]
    paths = {"containerd": root, container["name"]: output}
    return {
        "metadata": {"name": container["name"]},
        "image": {"image": IMAGE},
        "command": ["/drydock"],
        "args": [argument.replace("$(NODE)", NODE) for argument in container["args"]],
        "mounts": [
            {
                "container_path": each["mountPath"],
                "host_path": str(paths[each["name"]]),
                "readonly": each.get("readOnly", False),
            }
            for each in container["volumeMounts"]
        ],
        "linux": {
            "security_context": {
                "run_as_user": {"value": POD["securityContext"]["runAsUser"]},
                "run_as_group": {"value": POD["securityContext"]["runAsGroup"]},
                "readonly_rootfs": context["readOnlyRootFilesystem"],
                "no_new_privs": not context["allowPrivilegeEscalation"],
                "capabilities": {
                    "drop_capabilities": context["capabilities"]["drop"],
                    "add_capabilities": context["capabilities"]["add"],
                },
                "seccomp": {"profile_type": 0},
            }
        },
    }
