"""All that a console may do with a cluster: what the commands and the TUI are built on.

Any peer that is alive answers; a question that gets no answer goes, as the same one, to the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.client.link import ClientLink, new_id
from pymr.client.output import Listing, decompressed, list_output
from pymr.client.panes import (
    PANE_PIECE_BYTES,
    PaneBytes,
    RunPanes,
    keeps_pane,
    panes_in,
    read_pane,
    split_worker,
    told_by_data_service,
)
from pymr.client.peers import AskOne, peers_alone, workers_alone
from pymr.client.preview import preview_on
from pymr.client.runs import ended_run, may_still_end
from pymr.client.state import BadRecordListing, Consumed, Forgotten, consumed_files, forget_files
from pymr.client.wait import Outcome, wait_for
from pymr.wire.requests import (
    JOBS_PER_PAGE,
    TYPED_BYTES_MAX,
    AttachWorker,
    BadRecordsView,
    ClusterView,
    DeleteJob,
    DetachWorker,
    EventsView,
    ForceJob,
    ForgetState,
    GetBadRecords,
    GetCluster,
    GetEvents,
    GetHistory,
    GetJob,
    GetJobs,
    GetMemory,
    GetOutput,
    GetPeers,
    GetState,
    GetWorkers,
    HistoryView,
    JobsView,
    JobView,
    MemoryView,
    OutputView,
    PauseQueue,
    PeersView,
    PreviewJob,
    PreviewView,
    RecoverCluster,
    RetryJob,
    StateView,
    StopPeer,
    Submitted,
    TypeIntoWorker,
    UndeleteJob,
    WorkersView,
)
from pymr.wire.rows import EventRow, OutputPart, PeerRow, RunRow, WorkerRow

if TYPE_CHECKING:
    from pymr.jobs.job import Job

__all__ = [
    "Client", "ClientError", "Listing", "Outcome", "PaneBytes", "RefusedError", "RunPanes",
    "UnreachableError", "decompressed", "ended_run", "may_still_end", "split_worker",
]  # fmt: skip

PAGES_MAX = 1_000


class Client(ClientLink):
    """A console's side of a cluster; a context that closes its sockets at the end.

    Belongs to the thread that made it, as its sockets do: every thread makes one of its own.
    config: with at least one peer. name: whose key it uses, of those in security.keys_dir.
    Methods raise UnreachableError when no peer answers within timeout_s, RefusedError when one says no, and
    ConfigError where there is no such key.
    """

    # ---- looking

    def cluster(self, peer: str = "", timeout_s: float | None = None) -> ClusterView:
        """The cluster as a peer sees it. peer: which one has to answer; "" for any."""
        return self._ask(GetCluster(id=new_id()), ClusterView, peer=peer, timeout_s=timeout_s)

    def jobs(self) -> JobsView:
        """All jobs, in the order of the queue. Cost: a question per JOBS_PER_PAGE jobs."""
        view = self.jobs_page(0)
        rows = {row.fields["job_name"]: row for row in view.rows}
        start = len(view.rows)
        for _ in range(PAGES_MAX):
            if start >= view.total or not view.rows:
                break
            view = self.jobs_page(start)
            start += len(view.rows) or JOBS_PER_PAGE
            rows |= {row.fields["job_name"]: row for row in view.rows}
        return msgspec.structs.replace(view, rows=tuple(rows.values()), total=len(rows))

    def jobs_page(self, start: int) -> JobsView:
        """A page of jobs: at most JOBS_PER_PAGE, in the order of the queue, from the `start`-th on."""
        return self._ask(GetJobs(id=new_id(), start=start), JobsView)

    def job(self, job_name: str) -> JobView:
        """A job with its phases and its latest runs; its row is None when it is not in the queue.

        Raises ClientError for "", which means all jobs in a request for runs.
        """
        if not job_name:
            raise ClientError("there is no job without a name: see `pymr jobs`")
        return self._ask(GetJob(id=new_id(), job_name=job_name), JobView)

    def history(self, job_name: str = "", limit: int = 100) -> tuple[RunRow, ...]:
        """The latest runs first. job_name: "" for those of all jobs. Cost: a question per RUNS_PER_PAGE."""
        rows: dict[str, RunRow] = {}  # one that was on a page may be on the next, as new runs have ended
        start: int | None = 0
        for _ in range(PAGES_MAX):
            if start is None or len(rows) >= limit:
                break
            request = GetHistory(id=new_id(), job_name=job_name, limit=limit - len(rows), start=start)
            view = self._ask(request, HistoryView)
            rows |= {row.run_id: row for row in view.rows}
            start = view.next
        return tuple(rows.values())

    def peers(self) -> tuple[PeerRow, ...]:
        """All peers, as the leader hears them; while none leads, as each answers for itself."""
        view = self._ask(GetPeers(id=new_id()), PeersView)
        rows = view.rows
        if not any(row.leader for row in rows):
            rows = peers_alone(self._ask_one(), rows)
            self.problem = "" if any(row.leader for row in rows) else view.problem
        return rows

    def workers(self) -> tuple[WorkerRow, ...]:
        """The workers of all peers that are alive."""
        view = self._ask(GetWorkers(id=new_id()), WorkersView)
        if not view.is_partial:
            return view.rows
        rows = workers_alone(self._ask_one(), view.rows, [peer.name for peer in self.config.peers])
        self.problem = view.problem
        return rows

    def _ask_one(self) -> AskOne:
        return AskOne(
            lambda peer, seconds: self._ask(GetPeers(id=new_id()), PeersView, peer=peer, timeout_s=seconds),
            lambda peer, seconds: self._ask(
                GetWorkers(id=new_id()), WorkersView, peer=peer, timeout_s=seconds
            ),
        )

    def worker(self, name: str) -> WorkerRow:
        """One worker slot, by its name `PEER/SLOT`. Raises ClientError when there is none."""
        rows = self.workers()
        for row in rows:
            if row.name == name:
                return row
        names = ", ".join(row.name for row in rows) or "none at the moment"
        raise ClientError(f"there is no worker {name}; there are: {names}")

    def events(self, after: str = "", limit: int = 200) -> tuple[EventRow, ...]:
        """What happened after the event with the id `after`, the earliest first; "" for the latest ones."""
        return self._ask(GetEvents(id=new_id(), after=after, limit=limit), EventsView).rows

    # ---- the queue

    def submit(
        self,
        job: Job | Mapping[str, Any],
        projects_dir: str | os.PathLike[str],
        over_version: int | None = None,
    ) -> Submitted:
        """Put a job into the queue, its project packed from `projects_dir`; it replaces one of its name.

        job: a typed one, or its fields. No code of the project runs here. over_version: of the job that it is
        to replace, 0 for none; None for any version.
        Raises JobError and ProjectError for what can be seen to be wrong from here, and RefusedError with
        code `conflict` if the queue has another version.
        """
        [answer] = self.submit_all([(job, projects_dir)], over_version)
        return answer

    def submit_all(
        self,
        jobs: Sequence[tuple[Job | Mapping[str, Any], str | os.PathLike[str]]],
        over_version: int | None = None,
    ) -> Iterator[Submitted]:
        """Put jobs into the queue, each with its folder of projects; see client_submit.submit_all.

        over_version: as of `submit`; of one job only.
        """
        from pymr.client.submit import submit_all

        ask = partial(self._ask, answer_type=Submitted)
        return submit_all(jobs, self._put_package, self._do, ask, over_version)

    def preview(
        self, job: Job | Mapping[str, Any], projects_dir: str | os.PathLike[str], lines: int, peer: str = ""
    ) -> PreviewView:
        """Try a mapreduce job on the first lines of its input, where a peer has some; nothing is kept.

        peer: on whose host; "" for the first that has input. Raises as `submit` does.
        """
        fields, project_hash = self._packed(job, projects_dir)
        return preview_on(self, fields, project_hash, lines, peer)

    def preview_on(self, fields: dict[str, Any], project_hash: str, lines: int, peer: str) -> PreviewView:
        """The result of a preview on the host of one peer, to which the project was sent before."""
        request = PreviewJob(id=new_id(), fields=fields, project_hash=project_hash, lines=lines)
        return self._ask(request, PreviewView, peer=peer)

    def _packed(
        self, job: Job | Mapping[str, Any], projects_dir: str | os.PathLike[str]
    ) -> tuple[dict[str, Any], str]:
        """The fields of a job, and the hash of its project, which the cluster has then."""
        from pymr.client.submit import packed_jobs

        [packed] = packed_jobs([(job, projects_dir)])
        if packed.project is not None:
            self._put_package(packed.content_hash, packed.project.data)
        return packed.fields, packed.content_hash

    def delete(self, job_name: str) -> str:
        """Take a job off the queue; a run of it ends. Returns what the peer has to say of it."""
        return self._do(DeleteJob(id=new_id(), job_name=job_name))

    def undelete(self, job_name: str) -> Submitted:
        """Put a job back that was deleted less than requests.UNDELETE_SECONDS ago.

        Raises RefusedError with code `unknown` where there is none, `conflict` where one of its name stands
        in the queue.
        """
        return self._ask(UndeleteJob(id=new_id(), job_name=job_name), Submitted)

    def retry(self, name: str) -> str:
        """Queue a failed job once more, with all of its group. name: of a job or a group. Returns what the
        peer has to say of it."""
        return self._do(RetryJob(id=new_id(), name=name))

    def force(self, job_name: str) -> str:
        """Let a job run again although it has run in this cycle."""
        return self._do(ForceJob(id=new_id(), job_name=job_name))

    def pause(self) -> str:
        """Start no more runs; those that are running go on."""
        return self._do(PauseQueue(id=new_id(), paused=True))

    def resume(self) -> str:
        return self._do(PauseQueue(id=new_id(), paused=False))

    def wait(
        self, job_name: str, timeout_s: float | None = None, on_view: Callable[[JobView], None] | None = None
    ) -> Outcome | None:
        """Wait for the first run begun after the job's last submission; None when timeout_s have passed.

        on_view: is given every view of the job on the way.
        A cluster that cannot reach its Redis is waited for; one of which no peer answers, too, but without
        timeout_s for client_wait.OUT_OF_REACH_SECONDS at most.
        Raises UnreachableError where the cluster is out of reach at the end, ClientError when there is no
        such job.
        """
        return wait_for(lambda: self._view_with_runs(job_name), job_name, timeout_s, on_view)

    # ---- output and panes

    def output(self, job_name: str, *, partial: bool = False) -> Listing:
        """What a job's output consists of, on all hosts. See client_output.list_output."""
        return list_output(self, job_name, partial=partial)

    def output_of(self, job_name: str, peer: str) -> OutputView:
        """What lies of a job's output on the host of a peer."""
        return self._ask(GetOutput(id=new_id(), job_name=job_name), OutputView, peer=peer)

    def read_part(self, job_name: str, part: OutputPart) -> Iterator[bytes]:
        """The content of a part file as it is stored, piece by piece. Raises ClientError where it is gone."""
        from pymr.client.output import read_part

        return read_part(self._data_client(), job_name, part)

    def read_pane(
        self, worker: str, run_id: str, offset: int, bytes_max: int = PANE_PIECE_BYTES
    ) -> PaneBytes:
        """What a worker put out in a run, from a byte on; see client_panes.read_pane."""
        return read_pane(self._data_client(), worker, run_id, offset, bytes_max)

    def panes_of(self, run_id: str) -> list[str]:
        """The workers whose output of a run is still kept, as far as is known soon."""
        return list(self.panes_in(run_id).sizes)

    def panes_in(self, run_id: str) -> RunPanes:
        """The same with how much that is, and whether anything of the run is kept at all."""
        with self._hasty_data_client() as data:
            return panes_in(data, [row.name for row in self.workers()], run_id)

    def keeps_pane(self, worker: str, run_id: str) -> bool | None:
        """Whether what a worker put out in a run is still kept; None if that cannot be determined soon."""
        with self._hasty_data_client() as data:
            return keeps_pane(data, worker, run_id)

    def newest_run(self, worker: str) -> str:
        """The run whose output is the newest of a worker; "" where it has put out nothing yet."""
        return self.read_pane(worker, "", -1).run_id

    def attach(self, worker: str, holder: str, columns: int = 0, rows: int = 0) -> str:
        """Hold the keyboard of a worker for requests.ATTACH_SECONDS; again to go on holding it.

        holder: who that is, unique to this console. columns, rows: of the terminal; 0 to leave the worker's.
        Raises RefusedError with code `held` while another holds it.
        """
        request = AttachWorker(id=new_id(), worker=worker, holder=holder, columns=columns, rows=rows)
        return self._do(request, peer=split_worker(worker)[0])

    def type_into(self, worker: str, holder: str, data: bytes) -> None:
        """Type bytes into the terminal of a worker whose keyboard `holder` has. Raises RefusedError with the
        code `unavailable` where it has not taken what was typed before: TYPED_BYTES_MAX wait at most."""
        for start in range(0, len(data), TYPED_BYTES_MAX):
            piece = data[start : start + TYPED_BYTES_MAX]
            request = TypeIntoWorker(id=new_id(), worker=worker, holder=holder, data=piece)
            self._do(request, peer=split_worker(worker)[0])

    def detach(self, worker: str, holder: str) -> None:
        request = DetachWorker(id=new_id(), worker=worker, holder=holder)
        self._do(request, peer=split_worker(worker)[0])

    # ---- what jobs have consumed, and passed over

    def state(self, job_name: str) -> Consumed:
        """The files that a job with `hold_state` has consumed, on all hosts. See client_state."""
        return consumed_files(self, job_name)

    def forget_state(self, job_name: str, pattern: str, peer: str = "") -> Forgotten:
        """Forget that files were consumed, by a pattern of their paths. See client_state.forget_files."""
        return forget_files(self, job_name, pattern, peer)

    def bad_records(self, run_id: str) -> BadRecordListing:
        """The records that the map function raised on in a run, from all hosts. See client_state."""
        return BadRecordListing(self, run_id)

    def state_of(self, job_name: str, peer: str, start: int = 0) -> StateView:
        """A page of what a job has consumed on the host of a peer."""
        return self._ask(GetState(id=new_id(), job_name=job_name, start=start), StateView, peer=peer)

    def forget_state_of(self, job_name: str, pattern: str, peer: str) -> int:
        """Forget files on the host of a peer; returns how many."""
        return int(self._do(ForgetState(id=new_id(), job_name=job_name, pattern=pattern), peer=peer))

    def bad_records_of(self, run_id: str, peer: str, start: int = 0) -> BadRecordsView:
        """A page of a run's bad records on the host of a peer."""
        return self._ask(GetBadRecords(id=new_id(), run_id=run_id, start=start), BadRecordsView, peer=peer)

    # ---- files of this machine, on their way through a peer

    def send_files(
        self, peer: str, upload_id: str, path: str, on_bytes: Callable[[int], object] = lambda _: None
    ) -> None:
        """Send the files below a folder, or a file, to a peer, where it is then named `uploads/UPLOAD_ID`.

        on_bytes: called with the number of bytes that have arrived since. The same id resumes an upload.
        Raises InputError for what cannot be moved.
        """
        from pymr.peer.transfers.staged import write_upload

        with told_by_data_service(peer):
            write_upload(self._data_client(), peer, upload_id, path, on_bytes)

    def fetch_files(
        self,
        peer: str,
        upload_id: str,
        folder: str,
        on_bytes: Callable[[int], object] = lambda _: None,
        *,
        skip_existing: bool = False,
    ) -> tuple[int, int, int]:
        """Write what a job has downloaded to `uploads/UPLOAD_ID` of a peer into a folder of this machine.

        skip_existing: pass over files that are there already, with the same size and checksum. Returns how
        many files were written, their bytes, and how many were passed over.
        """
        from pymr.base.errors import disk_error
        from pymr.peer.transfers.staged import read_tree

        try:
            os.makedirs(folder, exist_ok=True)
            with told_by_data_service(peer):
                options = self.config, self._security, peer, upload_id, folder, on_bytes
                return read_tree(*options, skip_existing=skip_existing)
        except OSError as error:
            raise disk_error("writing to", folder, error) from error

    def discard_files(self, peer: str, upload_id: str) -> None:
        """Remove `uploads/UPLOAD_ID` of a peer."""
        with told_by_data_service(peer):
            self._data_client().discard(peer, upload_id)

    # ---- the cluster itself

    def stop_peer(self, peer: str, *, drain: bool = True, timeout_s: float | None = None) -> str:
        """End a peer: when what it is doing has ended, or at once."""
        return self._do(StopPeer(id=new_id(), drain=drain), peer=peer, timeout_s=timeout_s)

    def recover(self) -> str:
        """Give a Redis that has forgotten the cluster its jobs back, from what most peers remember.

        Raises ClientError where no more than half of the peers answer, RefusedError with code `invalid` where
        Redis has not forgotten anything.
        """
        from pymr.client.recover import choose_recovery, wait_until_forgotten

        memories = {peer.name: self._memory_of(peer.name) for peer in self.config.peers}
        chosen = choose_recovery(memories, at_least=len(memories) // 2 + 1)
        request = RecoverCluster(id=new_id(), incarnation=chosen.incarnation, epoch=chosen.epoch)
        detail = self._do(request, peer=chosen.peer)
        wait_until_forgotten(
            chosen.incarnation, self._memory_of, [name for name in memories if memories[name]]
        )
        return detail

    def _memory_of(self, peer: str) -> MemoryView | None:
        try:
            return self._ask(GetMemory(id=new_id()), MemoryView, peer=peer)
        except UnreachableError:
            return None

    def _view_with_runs(self, job_name: str) -> JobView:
        view = self.job(job_name)
        if view.row is not None or view.runs:
            return view
        return JobView(id=view.id, row=None, runs=self.history(job_name))
