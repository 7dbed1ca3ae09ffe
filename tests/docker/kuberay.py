"""What Kubernetes and KubeRay accept of the fields that our manifests use, as JSON Schema.

Closed, as an API server is that is asked to be strict: a field that is not here is refused. In our
own words, compared by hand with KubeRay's CRD of RayCronJob and its Go types of RayJob and
RayCluster (October 2026, KubeRay 1.7) and with Kubernetes 1.37; docker/README.md says how.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
QUANTITY: Schema = {"pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"} | TEXT
NAME: Schema = {"pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63} | TEXT
URL_PATH: Schema = {"pattern": "^/"} | TEXT
CRON: Schema = {"pattern": r"^\S+ \S+ \S+ \S+ \S+$"} | TEXT


def record(needed: str = "", **fields: Schema) -> Schema:
    """An object of these fields alone; `needed` names those that must be there."""
    return {
        "type": "object",
        "properties": fields,
        "required": needed.split(),
        "additionalProperties": False,
    }


def many(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def words(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


# --- Kubernetes --------------------------------------------------------------------------------

METADATA = record(name=NAME, generateName=TEXT, labels=words(TEXT))
SECCOMP = record("type", type=one_of("RuntimeDefault", "Unconfined", "Localhost"))
POD_SECURITY = record(
    runAsNonRoot=FLAG, runAsUser=WHOLE, runAsGroup=WHOLE, fsGroup=WHOLE, seccompProfile=SECCOMP
)
SECURITY = record(
    allowPrivilegeEscalation=FLAG, capabilities=record(add=many(TEXT), drop=many(TEXT))
)
AMOUNT: Schema = {"anyOf": [QUANTITY, WHOLE]}
RESOURCES = record(limits=words(AMOUNT), requests=words(AMOUNT))
FROM_SECRET = record("secretKeyRef", secretKeyRef=record("name key", name=NAME, key=TEXT))
CONTAINER = record(
    "name image",
    name=NAME,
    image=TEXT,
    command=many(TEXT),
    args=many(TEXT),
    workingDir=URL_PATH,
    env=many(record("name", name=TEXT, value={"type": "string"}, valueFrom=FROM_SECRET)),
    envFrom=many(record("secretRef", secretRef=record("name", name=NAME))),
    ports=many(record("containerPort", name=NAME, containerPort=WHOLE)),
    resources=RESOURCES,
    securityContext=SECURITY,
    volumeMounts=many(record("name mountPath", name=NAME, mountPath=URL_PATH, readOnly=FLAG)),
)
VOLUME = record(
    "name",
    name=NAME,
    configMap=record("name", name=NAME),
    emptyDir=record(medium=one_of("", "Memory"), sizeLimit=QUANTITY),
    persistentVolumeClaim=record("claimName", claimName=NAME),
)
TOLERATION = record(
    key=TEXT,
    operator=one_of("Exists", "Equal"),
    effect=one_of("NoSchedule", "PreferNoSchedule", "NoExecute"),
)
POD = record(
    "spec",
    metadata=METADATA,
    spec=record(
        "containers",
        restartPolicy=one_of("Always", "OnFailure", "Never"),
        automountServiceAccountToken=FLAG,
        securityContext=POD_SECURITY,
        tolerations=many(TOLERATION),
        containers=many(CONTAINER, least=1),
        volumes=many(VOLUME),
    ),
)
CRON_JOB = record(
    "schedule jobTemplate",
    schedule=CRON,
    timeZone=TEXT,
    concurrencyPolicy=one_of("Allow", "Forbid", "Replace"),
    startingDeadlineSeconds=WHOLE,
    successfulJobsHistoryLimit=WHOLE,
    failedJobsHistoryLimit=WHOLE,
    suspend=FLAG,
    jobTemplate=record("spec", spec=record("template", template=POD, backoffLimit=WHOLE)),
)
CLAIM = record(
    accessModes=many(one_of("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
    resources=RESOURCES,
    storageClassName=TEXT,
)

# --- KubeRay -----------------------------------------------------------------------------------

HEAD = record("template", rayStartParams=words(TEXT), template=POD)
WORKERS = record(
    "groupName minReplicas maxReplicas template",
    groupName=TEXT,
    replicas=WHOLE,
    minReplicas=WHOLE,
    maxReplicas=WHOLE,
    rayStartParams=words(TEXT),
    template=POD,
)
RAY_CLUSTER = record(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=record(mode=one_of("disabled", "token"), secretName=NAME),
    headGroupSpec=HEAD,
    workerGroupSpecs=many(WORKERS),
)
RAY_JOB = record(
    entrypoint=TEXT,
    activeDeadlineSeconds=WHOLE,
    backoffLimit=WHOLE,
    shutdownAfterJobFinishes=FLAG,
    ttlSecondsAfterFinished=WHOLE,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    submitterPodTemplate=POD,
    runtimeEnvYAML=TEXT,
    suspend=FLAG,
    rayClusterSpec=RAY_CLUSTER,
)
RAY_CRON_JOB = record(
    "schedule jobTemplate", schedule=CRON, timeZone=TEXT, suspend=FLAG, jobTemplate=RAY_JOB
)

SPECS = {
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("ray.io/v1", "RayJob"): RAY_JOB,
    ("ray.io/v1", "RayCronJob"): RAY_CRON_JOB,
    ("batch/v1", "CronJob"): CRON_JOB,
    ("v1", "PersistentVolumeClaim"): CLAIM,
}


def schema(api: str, kind: str) -> Schema:
    """Of a whole manifest of that kind. Raises KeyError for a kind that is not used here."""
    spec = SPECS[api, kind]
    fields = {"apiVersion": {"const": api}, "kind": {"const": kind}, "metadata": METADATA}
    return record("apiVersion kind metadata spec", **fields, spec=spec)
