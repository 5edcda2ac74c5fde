"""What the status page says by itself, in the languages that the maintenance page knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from upkeep.domain.bulletin import State


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWords:
    """The words of one language. In braces stands what is filled in.

    Attributes:
        page: what the page is, where its owner has not named it.
        calm: that nothing is under maintenance.
        busy: that something is.
        unnamed: title of a maintenance where nobody wrote one.
        active: heading of what is under way.
        ahead: heading of what is planned.
        over: heading of what has ended.
        nothing_ahead: that nothing is planned.
        ends_in: with `{duration}`.
        starts_in: with `{duration}`.
        starts_now: that it is about to begin.
        cancelled: that it does not take place.
        completed: that it went well.
        failed: that it ended, and something did not go well.
        not_held: that it did not take place.
        as_of: of when this is, with `{time}`.
        stale: that this may be out of date, with `{time}`.
    """

    page: str
    calm: str
    busy: str
    unnamed: str
    active: str
    ahead: str
    over: str
    nothing_ahead: str
    ends_in: str
    starts_in: str
    starts_now: str
    cancelled: str
    completed: str
    failed: str
    not_held: str
    as_of: str
    stale: str

    def result(self, state: State) -> str:
        """How something ended, in a word or two; empty for what has not."""
        return {
            State.CANCELLED: self.cancelled,
            State.COMPLETED: self.completed,
            State.FAILED: self.failed,
            State.NOT_HELD: self.not_held,
        }.get(state, "")


STATUS_WORDS: Final[Mapping[str, StatusWords]] = {
    "en": StatusWords(
        page="Maintenance status",
        calm="No maintenance at the moment",
        busy="Maintenance in progress",
        unnamed="Maintenance",
        active="Under maintenance now",
        ahead="Planned",
        over="Recently over",
        nothing_ahead="Nothing is planned.",
        ends_in="Ends in {duration}",
        starts_in="Starts in {duration}",
        starts_now="About to start",
        cancelled="Cancelled",
        completed="Completed",
        failed="Ended with problems",
        not_held="Did not take place",
        as_of="As of {time}",
        stale="This may be out of date: the last we know is of {time}.",
    ),
    "de": StatusWords(
        page="Wartungsstatus",
        calm="Zurzeit keine Wartung",
        busy="Wartung läuft",
        unnamed="Wartung",
        active="Jetzt in Wartung",
        ahead="Geplant",
        over="Kürzlich beendet",
        nothing_ahead="Nichts ist geplant.",
        ends_in="Endet in {duration}",
        starts_in="Beginnt in {duration}",
        starts_now="Beginnt gleich",
        cancelled="Abgesagt",
        completed="Abgeschlossen",
        failed="Mit Problemen beendet",
        not_held="Fand nicht statt",
        as_of="Stand: {time}",
        stale="Dies ist vielleicht nicht mehr aktuell: Der letzte bekannte Stand ist von {time}.",
    ),
    "fr": StatusWords(
        page="État des maintenances",
        calm="Aucune maintenance en ce moment",
        busy="Maintenance en cours",
        unnamed="Maintenance",
        active="En maintenance actuellement",
        ahead="Prévu",
        over="Terminé récemment",
        nothing_ahead="Rien n'est prévu.",
        ends_in="Se termine dans {duration}",
        starts_in="Commence dans {duration}",
        starts_now="Sur le point de commencer",
        cancelled="Annulée",
        completed="Terminée",
        failed="Terminée avec des problèmes",
        not_held="N'a pas eu lieu",
        as_of="État au {time}",
        stale="Ces informations ne sont peut-être plus à jour : le dernier état connu date du {time}.",
    ),
    "es": StatusWords(
        page="Estado de mantenimiento",
        calm="Ningún mantenimiento en este momento",
        busy="Mantenimiento en curso",
        unnamed="Mantenimiento",
        active="En mantenimiento ahora",
        ahead="Previsto",
        over="Terminado recientemente",
        nothing_ahead="No hay nada previsto.",
        ends_in="Termina en {duration}",
        starts_in="Empieza en {duration}",
        starts_now="A punto de empezar",
        cancelled="Cancelado",
        completed="Completado",
        failed="Terminado con problemas",
        not_held="No tuvo lugar",
        as_of="Estado: {time}",
        stale="Puede que esto no esté actualizado: lo último que sabemos es de {time}.",
    ),
    "pt": StatusWords(
        page="Estado da manutenção",
        calm="Nenhuma manutenção no momento",
        busy="Manutenção em andamento",
        unnamed="Manutenção",
        active="Em manutenção agora",
        ahead="Previsto",
        over="Terminado recentemente",
        nothing_ahead="Nada está previsto.",
        ends_in="Termina em {duration}",
        starts_in="Começa em {duration}",
        starts_now="Prestes a começar",
        cancelled="Cancelada",
        completed="Concluída",
        failed="Terminada com problemas",
        not_held="Não aconteceu",
        as_of="Situação: {time}",
        stale="Isto pode estar desatualizado: o último estado conhecido é de {time}.",
    ),
    "it": StatusWords(
        page="Stato delle manutenzioni",
        calm="Nessuna manutenzione al momento",
        busy="Manutenzione in corso",
        unnamed="Manutenzione",
        active="In manutenzione ora",
        ahead="In programma",
        over="Terminato di recente",
        nothing_ahead="Niente in programma.",
        ends_in="Termina tra {duration}",
        starts_in="Inizia tra {duration}",
        starts_now="Sta per iniziare",
        cancelled="Annullata",
        completed="Completata",
        failed="Terminata con problemi",
        not_held="Non ha avuto luogo",
        as_of="Aggiornato: {time}",
        stale="Queste informazioni potrebbero non essere aggiornate: l'ultimo stato noto è: {time}.",
    ),
    "nl": StatusWords(
        page="Onderhoudsstatus",
        calm="Op dit moment geen onderhoud",
        busy="Onderhoud bezig",
        unnamed="Onderhoud",
        active="Nu in onderhoud",
        ahead="Gepland",
        over="Onlangs beëindigd",
        nothing_ahead="Er is niets gepland.",
        ends_in="Eindigt over {duration}",
        starts_in="Begint over {duration}",
        starts_now="Begint zo",
        cancelled="Geannuleerd",
        completed="Voltooid",
        failed="Met problemen beëindigd",
        not_held="Ging niet door",
        as_of="Stand: {time}",
        stale="Dit is mogelijk niet meer actueel: het laatste dat we weten is van {time}.",
    ),
}
