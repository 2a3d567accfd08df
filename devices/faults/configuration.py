"""What was set up wrongly before the unit was ever switched on."""

from dataclasses import replace

import modeldb
from devices.faults.fault import UNSEALED, Ailment, Fault, FaultUnsuited
from devices.flash import Flash


class _OtherModel(Ailment):
    def begins(self, now_ms: int) -> None:
        terminal, mine = self.terminal, self.terminal.config.translation
        others = [model.units[mine.brand.name] for model in modeldb.load().available(mine.brand.name)]
        state = terminal.vehicle.state()
        right = mine.translate(mine.invert(state))
        others = [each for each in others if mine.translate(each.invert(state)) != right]
        if not others:
            raise FaultUnsuited(f"whatever model a {mine.brand.name} is configured for, it says the same of this vehicle")
        self._right = terminal.config
        terminal.config = replace(terminal.config, translation=self.rng.choice(others), model_configuration=0)
        terminal.restart_with(Flash.load(terminal.flash.dump()), now_ms)

    def ends(self, now_ms: int) -> None:
        self.terminal.config = self._right
        self.terminal.restart_with(Flash.load(self.terminal.flash.dump()), now_ms)


class WrongModel(Fault):
    """The workshop chose another vehicle from its list."""

    name = "wrong_model"
    sentence = "the unit is configured for another model of its brand, and reads the vehicle's signals by that model's table"
    level = "configuration"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "in_order", "unavoidable")
    ailment = _OtherModel


class _OtherSecret(Ailment):
    def begins(self, now_ms: int) -> None:
        terminal = self.terminal
        self._right = terminal.config
        terminal.config = replace(terminal.config, seal_key=self.rng.randbytes(32))
        terminal.restart_with(Flash(sequence=terminal.flash.sequence), now_ms)

    def ends(self, now_ms: int) -> None:
        self.terminal.config = self._right
        self.terminal.restart_with(Flash(sequence=self.terminal.flash.sequence), now_ms)


class WrongSecret(Fault):
    """The unit was given the seal key of another one; what it sealed with that is never heard."""

    name = "wrong_secret"
    sentence = "the unit seals with a key that is not its own"
    level = "configuration"
    per = "unit"
    usual_rate = 1.0
    expected = ("refused:forged", "quarantined", "no_false_change")
    protocols = frozenset({"cloudboxx"})
    because = UNSEALED
    ailment = _OtherSecret


FAULTS: tuple[type[Fault], ...] = (WrongModel, WrongSecret)
