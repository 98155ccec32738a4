from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from vaetune.errors import UserError
from vaetune.study.knock import knock


class Closed(grpc.GenericRpcHandler):
    """Answers whatever it is asked as a head does whose token is another."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
def head() -> Iterator[int]:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads, handlers=[Closed()])
        port = server.add_insecure_port("127.0.0.2:0")
        server.start()
        yield port
        server.stop(None).wait()


def test_another_token_is_said_at_once(head: int) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"does not know this token: ~/.ray/auth_token.*must be that of its head"):
        knock(f"127.0.0.2:{head}")  # 127.0.0.1 becomes the address by which others know this machine
    assert time.monotonic() - began < 5


def test_where_nobody_answers_there_is_no_cluster(port: int) -> None:
    with pytest.raises(UserError, match=f"no Ray cluster at .*:{port}: "):
        knock(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001"])
def test_from_outside_one_submits(address: str) -> None:
    with pytest.raises(UserError, match="--submit"):
        knock(address)


def test_what_is_no_address_is_said() -> None:
    with pytest.raises(UserError, match="no Ray cluster at 'head': Invalid address format"):
        knock("head")
