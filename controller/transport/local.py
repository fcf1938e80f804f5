"""No transport: packets stay on their host, as on Docker's own bridge."""

from __future__ import annotations

from controller.pipeline.flow import Flow, Match, Reason, drop
from controller.pipeline.registers import CARRIER
from controller.pipeline.stages import Stage
from controller.transport.transport import Transport
from controller.world import World


class _Local(Transport):
    name, number, leaves_host = "local", 6, False

    def base(self, world: World) -> list[Flow]:
        return [drop(Reason.OTHER_HOST, Stage.CARRY, 100, (Match(CARRIER, self.number),))]


LOCAL = _Local()
