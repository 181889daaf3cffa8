"""libnftables in this process (libnftables-json(5)): one long-lived context, because a fresh one costs 20 ms and a
process of ``nft`` more."""

from __future__ import annotations

import ctypes
import json
import threading
from typing import Any


class NftablesError(Exception):
    """A transaction that was refused as a whole; the text is nft's."""


class Nftables:
    """Runs nft commands, each call one atomic transaction. Blocking, safe from any thread.

    The library's sockets belong to the network namespace of the thread that makes the object.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL("libnftables.so.1")
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._lock = threading.Lock()
        self._context = ctypes.c_void_p(library.nft_ctx_new(0))
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_output_set_flags(self._context, _JSON | _NUMERIC)

    def run(self, commands: str) -> str:
        """Do all or nothing; the answer is what nft would print (JSON for listings). Raises NftablesError."""
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output = self._library.nft_ctx_get_output_buffer(self._context) or b""
            error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise NftablesError(error.decode(errors="replace").strip() or "nftables refused the change")
        return str(output.decode(errors="replace"))

    def list(self, what: str) -> list[dict[str, Any]]:
        """The objects of ``list …``; empty when there is no such thing."""
        try:
            output = self.run(f"list {what}")
        except NftablesError as error:
            if "No such file or directory" in str(error):
                return []
            raise
        return list(json.loads(output)["nftables"]) if output.strip() else []


_JSON, _NUMERIC = 1 << 4, 0x7 << 7
