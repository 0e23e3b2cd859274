"""What people write around and inside a model: each program runs untraced, under plain
forward hooks and under a trace. It gets a context manager to put around its batch, and
returns whatever its batch computed."""

import construct_autograd  # noqa: F401  (each adds its programs to the table)
import construct_control_flow  # noqa: F401
import construct_data  # noqa: F401
import construct_exchange  # noqa: F401
import construct_hooks  # noqa: F401
import construct_modules  # noqa: F401
import construct_tensors  # noqa: F401
import construct_torch_tools  # noqa: F401
import construct_values  # noqa: F401
from construct_table import PROGRAMS

__all__ = ["PROGRAMS"]
