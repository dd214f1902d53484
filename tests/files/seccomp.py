"""Letting a system call fail for real, in a child process, as container runtimes and dying disks do."""

import ctypes
import platform

OPENAT2 = 437
GETDENTS64 = {"x86_64": 217, "aarch64": 61}[platform.machine()]


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def fail_from_now_on(call: int, code: int) -> None:
    """Let every further ``call`` of this thread fail with errno ``code``. It cannot be taken back."""
    load, equal, give = 0x20, 0x15, 0x06
    instructions = (_Instruction * 4)(
        _Instruction(load, 0, 0, 0),
        _Instruction(equal, 0, 1, call),
        _Instruction(give, 0, 0, 0x00050000 | code),
        _Instruction(give, 0, 0, 0x7FFF0000),
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert prctl(22, 2, ctypes.byref(_Program(4, instructions)), 0, 0) == 0  # PR_SET_SECCOMP, filter
