"""Whether a Ray cluster answers at an address, and to our token. Ray itself asks for minutes before it says no."""

from __future__ import annotations

import grpc  # type: ignore[import-untyped]
from ray._private import gcs_utils, services
from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest  # type: ignore[attr-defined]  # made at import
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

from vaetune.errors import UserError
from vaetune.study import token

_PATIENCE_S = 10.0


def knock(address: str) -> None:
    """Asks the cluster at `address`, HOST:PORT or "auto", for its name; raises `UserError` where there is no answer."""
    if "://" in address:
        raise UserError(
            f"--address {address}: give HOST:PORT of a cluster that this machine is part of, or auto; from another "
            "machine, --submit with its dashboard's address"
        )
    try:
        found = services.canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address!r}: {error}") from error
    with gcs_utils.create_gcs_channel(found) as channel:
        ask = NodeInfoGcsServiceStub(channel).GetClusterId  # type: ignore[no-untyped-call]
        try:
            ask(GetClusterIdRequest(), timeout=_PATIENCE_S)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise token.refused(found) from error
            raise UserError(f"no Ray cluster at {found}: {error.details()}") from error
