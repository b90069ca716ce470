"""The field table: every field of a task file, its kind, and one sentence about it.

The one source of truth: the reader checks against it, "did you mean" searches it, and the JSON Schema is printed from it. A new
field is a row here, an attribute in `ir/spec.py` and its meaning in resolve; until it has one, a row with `later` set.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir import (
    AffinitySpec,
    CheckpointSpec,
    FileMountSpec,
    GroupSpec,
    HeaderSpec,
    ResourcesSpec,
    StorageSpec,
    TaskSpec,
)
from . import amounts
from .kinds import (
    Accelerators,
    Anything,
    Choice,
    Entries,
    Field,
    Flag,
    Later,
    ListOf,
    MapOf,
    Money,
    Number,
    OneOf,
    Record,
    Text,
    Variable,
    Whole,
)


def _amount(grammar: amounts.Grammar) -> Text:
    return Text(grammar, numbers=True)


_TIERS = ("low", "medium", "high", "ultra", "best", "none")

_JOB_RECOVERY = OneOf(
    (
        Text(),
        Record(
            "job_recovery",
            (
                Field("strategy", Text(), "How a lost job is placed again."),
                Field("max_restarts_on_errors", Whole(), "How often a job that failed by itself is started again."),
                Field("recover_on_exit_codes", ListOf(Whole(0, 255), single=True), "Exit codes that count as a loss."),
            ),
            open=True,
        ),
    )
)

_AUTOSTOP = OneOf(
    (
        Text(numbers=True),
        Record(
            "autostop",
            (
                Field("idle_minutes", Whole(), "Minutes without a job before the machines stop."),
                Field("down", Flag(), "Remove the machines instead of stopping them."),
                Field("wait_for", Text(), "What counts as idle."),
            ),
            open=True,
        ),
    )
)

_MACHINE_FIELDS = (
    Field("infra", Text(amounts.INFRA), "Where: `provider/region/zone`, each `*` or left out for any."),
    Field("cloud", Text(amounts.PLACE), "The provider alone; `infra` says the same."),
    Field("region", Text(amounts.PLACE), "The region alone; `infra` says the same."),
    Field("zone", Text(amounts.PLACE), "The zone alone; `infra` says the same."),
    Field("cpus", _amount(amounts.BOUND), "CPUs per node: `8` for exactly 8, `8+` for at least 8."),
    Field("memory", _amount(amounts.MEMORY), "Memory per node in GiB: `32`, `32+`, `64GB`, or `4x` for 4 GiB per CPU."),
    Field("accelerators", Accelerators(), "`H100:8`; a list is tried in order, a set or mapping means any of them."),
    Field("gpus", Accelerators(), "Another name for `accelerators`.", alias="accelerators"),
    Field("instance_type", Text(), "The provider's own name of the machine."),
    Field("use_spot", Flag(), "true: interruptible machines; the same as `market: spot`."),
    Field(
        "market",
        Choice(("spot", "on-demand", "auto")),
        "`spot`, `on-demand`, or `auto` for the one with the lower expected cost.",
    ),
    Field(
        "interruption_rate",
        Number(example="0.05"),
        "Interruptions per node and hour to expect on spot; default: the catalog's.",
    ),
    Field("disk_size", _amount(amounts.SIZE), "Disk per node in GiB: `100` or `100GB`."),
    Field("disk_tier", Choice(_TIERS), "How fast the disk is."),
    Field("local_disk", Text(numbers=True), "Wish for a disk inside the machine."),
    Field("network_tier", Choice(("standard", "best")), "How fast the network between nodes is."),
    Field(
        "ports",
        ListOf(_amount(amounts.PORT), single=True),
        "TCP ports to open: `8080`, `8000-8010`, or a list. Reached where a machine has a public address: at the head.",
    ),
    Field(
        "labels",
        MapOf(Text(numbers=True)),
        "Labels put on what is made for the task; machines of your own must have them.",
    ),
    Field(
        "image_id",
        OneOf((Text(), MapOf(Text(), key=amounts.IMAGE_PLACE, named=True))),
        "The machine image: one, or a mapping from region, `provider/region` or provider to the image there.",
    ),
    Field(
        "arch", Choice(("x86_64", "arm64")), "Processor architecture; default x86_64 where no machine or accelerator is named."
    ),
    Field("max_hourly_cost", Money(), "Most US dollars per hour for one node."),
    Field("autostop", _AUTOSTOP, "Stop idle machines.", later="stops idle machines"),
    Field("priority", Whole(-1000, 1000), "Order among waiting jobs.", later="orders waiting jobs"),
    Field("job_recovery", _JOB_RECOVERY, "How a lost job is placed again.", later="says how a lost job is placed again"),
    Field("spot_recovery", _JOB_RECOVERY, "The old name of `job_recovery`.", later="says how a lost job is placed again"),
    Field("accelerator_args", MapOf(Anything()), "Options of an accelerator.", later="sets options of an accelerator"),
    Field("volumes", ListOf(Anything()), "Extra disks.", later="attaches extra disks"),
    Field("_cluster_config_overrides", MapOf(Anything()), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_docker_login_config", MapOf(Anything()), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_docker_username_for_runpod", Text(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_is_image_managed", Flag(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_requires_fuse", Flag(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_no_missing_accel_warnings", Flag(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
)

_ALTERNATIVE = Record("alternative", _MACHINE_FIELDS, ResourcesSpec)

RESOURCES = Record(
    "resources",
    (
        *_MACHINE_FIELDS,
        Field(
            "any_of",
            ListOf(_ALTERNATIVE),
            "Alternatives; the cheapest to be had is taken. Each adds to the fields above.",
        ),
        Field("ordered", ListOf(_ALTERNATIVE), "Alternatives; the first to be had is taken. Each adds to the fields above."),
    ),
    ResourcesSpec,
)

GROUPS = Entries(
    Record(
        "group",
        (
            Field("num_nodes", Whole(1, 10_000), "How many nodes the group has."),
            Field("resources", RESOURCES, "What each node of the group needs, on top of the task's `resources`."),
            Field("run", Text(), "What every node of the group runs; default: the task's `run`."),
        ),
        GroupSpec,
    ),
    build=GroupSpec,
    key_field="name",
    key=amounts.NAME,
)

_MODE = Field(
    "mode",
    Choice(("COPY", "MOUNT", "MOUNT_CACHED"), later=frozenset({"MOUNT_CACHED"})),
    "COPY: files are there before the job starts. MOUNT: the store itself. MOUNT_CACHED: written back continuously.",
)

_STORAGE_FIELDS = (
    Field("uri", Text(), "The place itself: `scheme://…`."),
    Field("source", OneOf((Text(), Later(ListOf(Text())))), "Local files to upload, or the URI of an existing place."),
    Field("store", Text(), "The kind of store to make it in."),
    _MODE,
    Field("persistent", Flag(), "false: removed together with the deployment. Default true."),
    Field("placement", Choice(("auto",)), "`auto`: where the data lives is chosen together with where the tasks run."),
    Field("infra", Text(amounts.BUCKET_PLACE), "Where it is: `provider/region`; with `placement: auto`, where it may be."),
    Field("size_gb", _amount(amounts.SIZE), "Expected size in GiB, for the price."),
    Field("keep_days", Number(above=True, example="30"), "Days the data stays, for the price; default: as long as the run."),
    Field("config", MapOf(Anything()), "Options of the mount.", later="sets options of the mount"),
    Field("_force_delete", Flag(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_is_sky_managed", Flag(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
    Field("_bucket_sub_path", Text(), "SkyPilot's own.", later="changes SkyPilot's own settings"),
)

STORAGE = Entries(Record("storage", _STORAGE_FIELDS, StorageSpec), build=StorageSpec, key_field="name", key=amounts.NAME)

FILE_MOUNTS = Entries(
    Record(
        "mount",
        (Field("name", Text(amounts.NAME_PATTERN), "The Storage's name."), *_STORAGE_FIELDS),
        StorageSpec,
    ),
    build=FileMountSpec,
    key_field="target",
    key=amounts.TARGET,
    text_field="source",
    record_field="storage",
)

CHECKPOINT = Record(
    "checkpoint",
    (
        Field("path", Text(amounts.TARGET), "The directory the job writes its checkpoints to."),
        Field("storage", Text(amounts.NAME), "The Storage they are kept in; default: one made for the task."),
        Field("every", _amount(amounts.DURATION), "Time between snapshots: `5m` (the default), `300`, `1h`."),
        Field("keep", Whole(1, 10_000), "How many counted checkpoints are kept; default 3."),
    ),
    CheckpointSpec,
)

SAME = Record(
    "same",
    tuple(
        Field(level, ListOf(Text(amounts.NAME), single=True), f"Tasks of this file, for the same or another {level}.")
        for level in ("cloud", "region", "zone")
    ),
)

AFFINITY = Record(
    "affinity",
    (
        Field("same", SAME, "Tasks to run at the same place as."),
        Field("distinct", replace(SAME, name="distinct"), "Tasks to run at another place than."),
    ),
    AffinitySpec,
)

_FLOWS = MapOf(_amount(amounts.SIZE), key=amounts.FLOW, named=True)

_HOURS = OneOf((_amount(amounts.HOURS), MapOf(_amount(amounts.HOURS), key=amounts.HOURS_ON, named=True)))

_PROBE = OneOf(
    (
        Text(),
        Record(
            "readiness_probe",
            (
                Field("path", Text(), "The path that answers when the replica is ready."),
                Field("initial_delay_seconds", Whole(), "Seconds a replica has to become ready."),
                Field("timeout_seconds", Whole(), "Seconds one answer may take."),
                Field("interval_seconds", Whole(), "Seconds between probes."),
                Field("post_data", Anything(), "What to send."),
                Field("headers", MapOf(Text(numbers=True)), "Headers to send."),
            ),
            open=True,
        ),
    )
)

_REPLICA_POLICY = Record(
    "replica_policy",
    (
        Field("min_replicas", Whole(), "Fewest replicas."),
        Field("max_replicas", Whole(), "Most replicas."),
        Field("num_overprovision", Whole(), "Replicas above the need."),
        Field("target_qps_per_replica", OneOf((Number(), MapOf(Number()))), "Requests per second one replica serves."),
        Field("upscale_delay_seconds", Whole(), "Seconds before adding replicas."),
        Field("downscale_delay_seconds", Whole(), "Seconds before removing replicas."),
        Field("dynamic_ondemand_fallback", Flag(), "On-demand replicas while spot ones are missing."),
        Field("base_ondemand_fallback_replicas", Whole(), "Replicas that are always on-demand."),
        Field("spot_placer", Text(), "How spot replicas are spread."),
    ),
    open=True,
)

SERVICE = Record(
    "service",
    (
        Field("readiness_probe", _PROBE, "How to see that a replica is ready."),
        Field("replicas", Whole(), "How many replicas."),
        Field("replica_policy", _REPLICA_POLICY, "How the number of replicas changes."),
        Field("ports", Text(amounts.PORT, numbers=True), "The port replicas listen on."),
        Field("load_balancing_policy", Text(), "How requests are spread."),
        Field(
            "tls",
            Record(
                "tls",
                (Field("keyfile", Text(), "The key's file."), Field("certfile", Text(), "The certificate's file.")),
                open=True,
            ),
            "Certificate of the endpoint.",
        ),
        Field("pool", Flag(), "A pool of workers instead of a service."),
        Field("workers", Whole(), "Workers of a pool."),
    ),
    open=True,
)

POOL = Record(
    "pool",
    (
        Field("workers", Whole(), "How many workers."),
        Field("min_workers", Whole(), "Fewest workers."),
        Field("max_workers", Whole(), "Most workers."),
    ),
    open=True,
)

SWEEP = Record(
    "sweep",
    (
        Field("grid", MapOf(ListOf(Anything(), single=True)), "Every combination of these values."),
        Field("random", MapOf(Anything()), "Values drawn at random."),
        Field("list", ListOf(MapOf(Anything())), "These trials and no others."),
        Field("metric", Text(), "What the trials are compared by."),
        Field("mode", Choice(("min", "max")), "Whether less or more of it is better."),
        Field("trials", Whole(1), "How many trials."),
        Field("max_concurrent", Whole(1), "Most trials at a time."),
        Field("early_stop", OneOf((Text(), MapOf(Anything()))), "How bad trials are stopped early."),
    ),
)

_WORKDIR_GIT = Record(
    "workdir",
    (
        Field("url", Text(), "The repository."),
        Field("ref", Text(numbers=True), "Branch, tag or commit."),
    ),
)

_POLICY = ListOf(Text(), single=True)

_SKYPILOT_OWN = "changes SkyPilot's own settings"

TASK = Record(
    "task",
    (
        Field("name", Text(amounts.NAME_PATTERN), "The task's name; default: the file's."),
        Field("workdir", OneOf((Text(), Later(_WORKDIR_GIT))), "The local directory to bring to every node; jobs start in it."),
        Field("num_nodes", Whole(1, 10_000), "How many nodes run the task together; default 1."),
        Field("resources", RESOURCES, "What each node needs."),
        Field("groups", GROUPS, "Node groups of different kinds in one cluster, placed and started together."),
        Field("envs", MapOf(Variable(), key=amounts.VARIABLE), "Environment variables; one without a value comes from yours."),
        Field("secrets", MapOf(Variable(secret=True), key=amounts.VARIABLE), "As `envs`, and never shown or stored in a plan."),
        Field("file_mounts", FILE_MOUNTS, "Path on the node: a local path, a URI, or a Storage mapping."),
        Field("storage", STORAGE, "Named places for data."),
        Field("checkpoint", CHECKPOINT, "The directory to snapshot, and where to."),
        Field("setup", Text(), "Shell commands run once per node before the first job."),
        Field("run", Text(), "Shell commands run on every node."),
        Field("hours", _HOURS, "Expected run time in hours, or hours per accelerator and `default`; default 1."),
        Field("deadline", _amount(amounts.DEADLINE), "Latest finish: `6h` from the start, or a date and time with its zone."),
        Field("budget", _amount(amounts.MONEY), "Most US dollars the task may cost."),
        Field("needs", ListOf(Text(amounts.NAME), single=True), "Tasks of this file that must finish first."),
        Field("inputs", _FLOWS, "What is read, with its size in GiB: a URI, a Storage, or what another task outputs."),
        Field(
            "outputs", _FLOWS, "What is written, with its size in GiB: a URI, a Storage, or a name for other tasks' `inputs`."
        ),
        Field("affinity", AFFINITY, "Tasks to run at the same place as, or at another."),
        Field("traffic", _amount(amounts.SIZE), "GiB that the task's groups exchange with each other over the run."),
        Field("policy", _POLICY, "Files with rules that the whole plan must meet, beside those of the organisation."),
        Field("sweep", SWEEP, "Many small trials.", later="runs many small trials"),
        Field("service", SERVICE, "Replicas behind an endpoint.", later="runs replicas behind an endpoint"),
        Field("pool", POOL, "Workers kept ready.", later="keeps workers ready"),
        Field("volumes", OneOf((MapOf(Anything()), ListOf(Anything()))), "Volumes to attach.", later="attaches volumes"),
        Field("volume_mounts", ListOf(Anything()), "Volumes to attach.", later="attaches volumes"),
        Field("config", MapOf(Anything()), "Settings for this task.", later="changes settings for this task"),
        Field("experimental", MapOf(Anything()), "SkyPilot's experiments.", later=_SKYPILOT_OWN),
        Field("event_callback", Text(), "A command run when the state changes.", later="runs a command on state changes"),
        Field("api_server_access", Anything(), "SkyPilot's own.", later=_SKYPILOT_OWN),
        Field("file_mounts_mapping", MapOf(Anything()), "SkyPilot's own.", later=_SKYPILOT_OWN),
        Field("_metadata", MapOf(Anything()), "SkyPilot's own.", later=_SKYPILOT_OWN),
        Field("_user_specified_yaml", Text(), "SkyPilot's own.", later=_SKYPILOT_OWN),
    ),
    TaskSpec,
)

HEADER = Record(
    "header",
    (
        Field("name", Text(amounts.NAME_PATTERN), "The name of the whole."),
        Field(
            "execution",
            Choice(("serial", "parallel")),
            "`serial` (one after the other) or `parallel`, for tasks without `needs`.",
        ),
        Field("policy", _POLICY, "Files with rules that the whole plan must meet, beside those of the organisation."),
        Field("primary_tasks", ListOf(Text(), single=True), "Tasks whose end ends the rest.", later="ends the other tasks"),
        Field("termination_delay", Anything(), "How long the rest may go on.", later="delays the end of the other tasks"),
    ),
    HeaderSpec,
)

MEANT = {
    "command": "run",
    "cmd": "run",
    "entrypoint": "run",
    "script": "run",
    "env": "envs",
    "environment": "envs",
    "variables": "envs",
    "nodes": "num_nodes",
    "replicas": "num_nodes",
    "cpu": "cpus",
    "gpu": "accelerators",
    "mem": "memory",
    "ram": "memory",
    "image": "image_id",
    "docker": "image_id",
    "spot": "use_spot",
    "disk": "disk_size",
    "mounts": "file_mounts",
    "storage_mounts": "file_mounts",
    "checkpoints": "checkpoint",
    "depends_on": "needs",
    "machine": "instance_type",
    "interval": "every",
    "provider": "cloud",
    "region": "infra",
    "location": "infra",
    "apart": "distinct",
    "together": "same",
    "runtime": "hours",
    "duration": "hours",
    "retention": "keep_days",
}
"""Words people use for a field where the spelling is no help."""
