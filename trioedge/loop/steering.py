"""Steer the connections of a group of listening sockets by a program of the kernel."""

import ctypes
import socket
import struct
from typing import Final

SO_ATTACH_REUSEPORT_CBPF: Final = 51
"""The number of the option (asm-generic/socket.h)."""

_INSTRUCTION_BYTES: Final = 8


def steer(sock: socket.socket, program: bytes) -> None:
    """Have the kernel choose the socket of each connection by a classic BPF program; it replaces an earlier one.

    It needs no privilege. The result of the program is the number of a socket, counted in the order in which the
    sockets of the group began to listen; for a number that none has, the kernel chooses by a hash of the connection.

    Args:
        sock: any one of a group with SO_REUSEPORT and one address.
        program: instructions of 8 bytes each.

    Raises:
        OSError: the socket is in no such group, or the kernel refuses the program.
    """
    code = ctypes.create_string_buffer(program, len(program))
    option = struct.pack("HL", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(code))  # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, option)
