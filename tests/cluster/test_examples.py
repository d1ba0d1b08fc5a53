"""The cluster files: they parse, and the commands in them exist."""

import re
import shlex
from pathlib import Path

import click
import yaml
from click.testing import CliRunner

import cluster
from layershap.cli import commands

EXAMPLES = Path(cluster.__file__).with_name("examples")
ROOT = EXAMPLES.parent.parent


def load(name):
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


def check_run(words):
    """Checks a `layershap run` command against the real command's options."""
    assert words[:2] == ["layershap", "run"]
    command = commands.get_command(click.Context(commands), "run")
    assert command is not None
    context = click.Context(command, info_name="run")
    parser = command.make_parser(context)
    options, _, _ = parser.parse_args(list(words[2:]))
    assert options["address"] == "auto"
    assert CliRunner().invoke(commands, ["run", "--help"]).exit_code == 0


def test_the_launcher_file():
    found = load("ray-cluster.yaml")
    assert 1 <= found["min_workers"] <= found["max_workers"]
    assert found["max_workers"] == len(found["provider"]["worker_ips"])
    (install,) = [line for line in found["setup_commands"] if "pip install" in line]
    assert "-c ~/layershap/constraints.txt ~/layershap" in install
    assert found["file_mounts"] == {"~/layershap": "."}
    assert (ROOT / "constraints.txt").is_file()
    head = " ".join(found["head_start_ray_commands"])
    assert "ray start --head --port=6379 --num-cpus=0" in head
    assert "ray start --address=$RAY_HEAD_IP:6379" in found["worker_start_ray_commands"][-1]


def test_the_launcher_file_is_valid_to_ray():
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(load("ray-cluster.yaml")))


def test_the_kubernetes_job():
    job = load("kuberay-job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster_spec = job["spec"]["rayClusterSpec"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={cluster_spec['rayVersion']}\n" in pinned
    check_run(shlex.split(job["spec"]["entrypoint"]))
    head, (workers,) = cluster_spec["headGroupSpec"], cluster_spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert 1 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"]["memory"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def test_the_commands_of_the_readme():
    guide = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    lines = guide.replace("\\\n", " ").splitlines()  # a backslash goes on with the next line
    (command,) = [line for line in lines if line.startswith("ray job submit")]
    check_run(shlex.split(command.split(" -- ")[1]))
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((\S+?)\)", text):
        assert (EXAMPLES / name).is_file()
