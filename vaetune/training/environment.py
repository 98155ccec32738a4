"""The environment of a process that trains, free of torch because it has to be set before torch loads."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "MKL_CBWR": "AUTO"}
"""One thread a trial, and no spinning: two spinning threads on shared cores cost five times and more. MKL's products
must not depend on where in memory an operand lies, or a member's last bits depend on its place in the stack; on the
processors measured that costs nothing."""
