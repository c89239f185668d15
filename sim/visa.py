"""An in-process VISA library: pyvisa clients reach virtual instruments under ordinary resource names."""

# ruff: noqa: ARG002  # the signatures are pyvisa's

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyvisa import constants, rname
from pyvisa.constants import EventAttribute, ResourceAttribute, StatusCode
from pyvisa.errors import VisaIOError
from pyvisa.highlevel import VisaLibraryBase
from pyvisa.typing import VISARMSession, VISASession
from pyvisa.util import LibraryPath

from quest_lab.clock import Clock
from quest_lab.sim.wire import LinkClosed, Wire

_serial = itertools.count(1)


@dataclass(slots=True)
class _Session:
    wire: Wire
    attributes: dict[ResourceAttribute, Any]
    pending: bytes = b""


class VirtualLibrary(VisaLibraryBase):
    """A VISA library over `wires`, one per resource name. Make one with `virtual_library`."""

    wires: Mapping[str, Wire]
    clock: Clock

    def _init(self) -> None:
        self._sessions: dict[int, _Session] = {}
        self._handles = itertools.count(1)

    def open_default_resource_manager(self) -> tuple[VISARMSession, StatusCode]:
        handle = VISARMSession(next(self._handles))
        return handle, self.handle_return_value(handle, StatusCode.success)

    def list_resources(self, session: VISARMSession, query: str = "?*::INSTR") -> tuple[str, ...]:
        return rname.filter(self.wires, query)

    def open(
        self,
        session: VISARMSession,
        resource_name: str,
        access_mode: constants.AccessModes = constants.AccessModes.no_lock,
        open_timeout: int = constants.VI_TMO_IMMEDIATE,
    ) -> tuple[VISASession, StatusCode]:
        """Open a session. Raises VisaIOError where no instrument has this name."""
        name = rname.to_canonical_name(resource_name)
        wire = {rname.to_canonical_name(known): wire for known, wire in self.wires.items()}.get(name)
        if wire is None:
            raise VisaIOError(StatusCode.error_resource_not_found)
        handle = VISASession(next(self._handles))
        self._sessions[handle] = _Session(wire, _attributes(name))
        return handle, self.handle_return_value(handle, StatusCode.success)

    def close(self, session: Any) -> StatusCode:
        self._sessions.pop(session, None)
        return self.handle_return_value(None, StatusCode.success)

    def write(self, session: VISASession, data: bytes) -> tuple[int, StatusCode]:
        """Send bytes; a message ends with them, as END does on GPIB. Raises VisaIOError on a dead line."""
        here = self._sessions[session]
        here.pending = b""
        try:
            here.wire.send(data.decode("ascii", "replace").strip("\r\n"))
        except LinkClosed:
            raise VisaIOError(StatusCode.error_connection_lost) from None
        return len(data), self.handle_return_value(session, StatusCode.success)

    def read(self, session: VISASession, count: int) -> tuple[bytes, StatusCode]:
        """Up to `count` bytes of the reply. Raises VisaIOError (timeout, in virtual time) without one."""
        here = self._sessions[session]
        if not here.pending:
            reply = here.wire.receive()
            if reply is None:
                self.clock.sleep(here.attributes[ResourceAttribute.timeout_value] / 1e3)
                raise VisaIOError(StatusCode.error_timeout)
            here.pending = reply.encode() + b"\n"
        chunk, here.pending = here.pending[:count], here.pending[count:]
        status = StatusCode.success_max_count_read if here.pending else StatusCode.success
        if not here.pending and here.attributes.get(ResourceAttribute.termchar_enabled):
            status = StatusCode.success_termination_character_read
        return chunk, self.handle_return_value(session, status)

    def clear(self, session: VISASession) -> StatusCode:
        here = self._sessions[session]
        here.pending = b""
        here.wire.clear()
        return self.handle_return_value(session, StatusCode.success)

    def read_stb(self, session: VISASession) -> tuple[int, StatusCode]:
        status = self._sessions[session].wire.instrument.scpi.status_byte
        return status, self.handle_return_value(session, StatusCode.success)

    def assert_trigger(self, session: VISASession, protocol: constants.TriggerProtocol) -> StatusCode:
        """Group execute trigger: what *TRG is to the message parser."""
        self._sessions[session].wire.send("*TRG")
        return self.handle_return_value(session, StatusCode.success)

    def flush(self, session: VISASession, mask: constants.BufferOperation) -> StatusCode:
        self._sessions[session].pending = b""
        return self.handle_return_value(session, StatusCode.success)

    def get_attribute(
        self, session: Any, attribute: ResourceAttribute | EventAttribute
    ) -> tuple[Any, StatusCode]:
        attributes = self._sessions[session].attributes
        known = next(
            (key for key in attributes if key == attribute), None
        )  # pyvisa may hand over a plain number
        if known is None:
            raise VisaIOError(StatusCode.error_nonsupported_attribute)
        return attributes[known], self.handle_return_value(session, StatusCode.success)

    def set_attribute(
        self, session: VISASession, attribute: ResourceAttribute, attribute_state: Any
    ) -> StatusCode:
        self._sessions[session].attributes[ResourceAttribute(attribute)] = attribute_state
        return self.handle_return_value(session, StatusCode.success)

    def disable_event(
        self, session: VISASession, event_type: constants.EventType, mechanism: constants.EventMechanism
    ) -> StatusCode:
        return StatusCode.success

    def discard_events(
        self, session: VISASession, event_type: constants.EventType, mechanism: constants.EventMechanism
    ) -> StatusCode:
        return StatusCode.success


def virtual_library(wires: Mapping[str, Wire], clock: Clock) -> VirtualLibrary:
    """A new library of its own, for `pyvisa.ResourceManager(library)`; waits pass on `clock`."""
    library = VirtualLibrary(LibraryPath(f"quest-lab-virtual-{next(_serial)}"))
    if not isinstance(library, VirtualLibrary):  # VisaLibraryBase.__new__ is typed as its base
        raise TypeError("pyvisa made another library")
    library.wires, library.clock = wires, clock
    return library


def _attributes(name: str) -> dict[ResourceAttribute, Any]:
    parsed = rname.ResourceName.from_string(name)
    return {
        ResourceAttribute.timeout_value: 2000,
        ResourceAttribute.resource_name: name,
        ResourceAttribute.resource_class: parsed.resource_class,
        ResourceAttribute.interface_type: parsed.interface_type_const,
        ResourceAttribute.interface_number: 0,
        ResourceAttribute.termchar: ord("\n"),
        ResourceAttribute.termchar_enabled: constants.VI_FALSE,
        ResourceAttribute.send_end_enabled: constants.VI_TRUE,
        ResourceAttribute.resource_manufacturer_name: "quest-lab",
    }
