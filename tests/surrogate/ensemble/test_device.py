import os
import subprocess
import sys

SCRIPT = """
import os, sys
import surrogate
assert "jax" not in sys.modules, "importing the room must not import JAX"
import jax
before = {k: v for k, v in jax.config.values.items()}
import surrogate.model.regressor
assert before == dict(jax.config.values.items()), "importing must not configure JAX"
from surrogate.ensemble.device import computing
with computing():
    assert jax.numpy.zeros(2).devices() == {jax.devices("cpu")[0]}
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
assert not {"torch", "ray", "transformers"} & set(sys.modules)
"""


def test_importing_leaves_jax_alone_and_computing_uses_the_cpu():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XLA_PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
