//! Files that wake drctl: for cron, systemd and Kubernetes. All of them run `drctl run-due` every few minutes, and leave
//! the times to the policy.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::{Sha256Hex, SystemName};

/// Minutes from one wake to the next. A task begins at most this much later than its time.
pub const WAKE_MINUTES: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Cron,
    Systemd,
    Kubernetes,
}

/// Variables for what runs on a host.
const ENVIRONMENT: &str = "/etc/drctl/env";

/// What systemd and Kubernetes run apart, because they start nothing while it runs: a drill of hours must not keep backups
/// from being taken. cron starts drctl whatever runs already, and leases keep tasks from being done twice.
struct Lane {
    suffix: &'static str,
    only: &'static str,
    what: &'static str,
}

const LANES: [Lane; 2] = [
    Lane { suffix: "backup", only: "backup,copies", what: "backups and their copies" },
    Lane { suffix: "upkeep", only: "verify,retention,drill", what: "verification, retention and drills" },
];

/// What the files need to know.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    pub format: ExportFormat,
    pub system: SystemName,
    /// Absolute.
    pub program: PathBuf,
    /// Absolute.
    pub policy: PathBuf,
    /// Whom it runs as; `None`: root, or the user whose crontab it is.
    pub user: Option<String>,
    /// Absolute paths that drctl writes to: repositories in directories, the spool of WAL, sandboxes.
    pub writes: Vec<PathBuf>,
    /// The container image; Kubernetes needs it.
    pub image: Option<String>,
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    pub name: String,
    pub contents: String,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ExportError {
    #[error("a CronJob needs the image of a container that has drctl and PostgreSQL's programs")]
    NoImage,
    #[error("`{}` cannot be written to a file of {what}: it has a line break", .path.display())]
    LineBreak { path: PathBuf, what: &'static str },
}

/// Returns the files, in the order in which they are installed.
pub fn export(request: &ExportRequest) -> Result<Vec<ExportFile>, ExportError> {
    let what = match request.format {
        ExportFormat::Cron => "cron",
        ExportFormat::Systemd => "systemd",
        ExportFormat::Kubernetes => "Kubernetes",
    };
    let paths = [&request.program, &request.policy].into_iter().chain(&request.writes);
    for path in paths {
        if path.to_string_lossy().chars().any(char::is_control) {
            return Err(ExportError::LineBreak { path: path.clone(), what });
        }
    }
    match request.format {
        ExportFormat::Cron => Ok(vec![cron(request)]),
        ExportFormat::Systemd => {
            Ok(LANES.iter().flat_map(|lane| [service(request, lane), timer(request, lane)]).collect())
        }
        ExportFormat::Kubernetes => {
            let jobs: Result<Vec<String>, _> = LANES.iter().map(|lane| cron_job(request, lane)).collect();
            let contents = format!("{}{}", service_account(request), jobs?.concat());
            Ok(vec![ExportFile { name: format!("{}.yaml", unit_name(request)), contents }])
        }
    }
}

/// Returns the minute of the first wake in an hour: the same for a system on every host, and spread over systems.
fn first_minute(system: &SystemName) -> u8 {
    let digest = Sha256Hex::digest(system.as_str().as_bytes()).to_string();
    digest.bytes().fold(0, |sum, byte| (sum * 16 + byte % 16) % WAKE_MINUTES)
}

fn unit_name(request: &ExportRequest) -> String {
    format!("drctl-{}", request.system)
}

fn lane_name(request: &ExportRequest, lane: &Lane) -> String {
    format!("{}-{}", unit_name(request), lane.suffix)
}

/// A file for `/etc/cron.d`, or a user's crontab.
fn cron(request: &ExportRequest) -> ExportFile {
    let ExportRequest { system, user, .. } = request;
    let words = |path: &Path| shell_word(&path.to_string_lossy()).replace('%', "\\%");
    let (program, policy) = (words(&request.program), words(&request.policy));
    let user_column = user.as_ref().map(|user| format!("{user} ")).unwrap_or_default();
    let place = match user {
        Some(_) => format!("/etc/cron.d/{}", unit_name(request)),
        None => "a line of the crontab of the user that runs drctl".to_owned(),
    };
    let contents = format!(
        "# {place}: does what the policy of {system} schedules, when it is due.\n\
         # cron has hardly an environment: {ENVIRONMENT} holds the variables that the policy names, as NAME='value', and is\n\
         # readable by that user alone.\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         {}-59/{WAKE_MINUTES} * * * * {user_column}set -a; [ ! -r {ENVIRONMENT} ] || . {ENVIRONMENT}; exec {program} --quiet --policy {policy} run-due\n",
        first_minute(system)
    );
    ExportFile { name: unit_name(request), contents }
}

/// Quotes a word for a POSIX shell, where that is needed.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Quotes a word for a unit of systemd.
fn unit_word(word: &str) -> String {
    let escaped = word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped.contains([' ', '\'', '"', ';']) { format!("\"{escaped}\"") } else { escaped }
}

fn service(request: &ExportRequest, lane: &Lane) -> ExportFile {
    let path = |path: &Path| unit_word(&path.to_string_lossy());
    let ExportRequest { system, user, .. } = request;
    let user = user.as_ref().map(|user| format!("User={user}\n")).unwrap_or_default();
    let writes: String =
        request.writes.iter().map(|written| format!("ReadWritePaths=-{}\n", path(written))).collect();
    let contents = format!(
        "# /etc/systemd/system/{name}.service\n\
         [Unit]\n\
         Description=drctl: {what} that the policy of {system} schedules\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         {user}\
         ExecStart={program} --quiet --policy {policy} run-due --only {only}\n\
         # Variables that the policy names, as NAME=value; readable by root alone.\n\
         EnvironmentFile=-{ENVIRONMENT}\n\
         StateDirectory=drctl\n\
         Environment=DRCTL_STATE_DIR=/var/lib/drctl\n\
         # A backup takes as long as it takes; drctl has a deadline for everything that it waits for.\n\
         TimeoutStartSec=infinity\n\
         # It is asked to end first, and ends its own children.\n\
         KillMode=mixed\n\
         TimeoutStopSec=90\n\
         Nice=10\n\
         NoNewPrivileges=yes\n\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=read-only\n\
         {writes}\
         ProtectClock=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
         # Namespaces and mounts stay allowed: drills have theirs.\n\
         UMask=0077\n",
        name = lane_name(request, lane),
        what = lane.what,
        only = lane.only,
        program = path(&request.program),
        policy = path(&request.policy),
    );
    ExportFile { name: format!("{}.service", lane_name(request, lane)), contents }
}

fn timer(request: &ExportRequest, lane: &Lane) -> ExportFile {
    let contents = format!(
        "# /etc/systemd/system/{name}.timer\n\
         [Unit]\n\
         Description=Wake drctl for {what} of {system}\n\
         \n\
         [Timer]\n\
         OnCalendar=*-*-* *:{first:02}/{WAKE_MINUTES}:00 UTC\n\
         Persistent=true\n\
         AccuracySec=15s\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        name = lane_name(request, lane),
        what = lane.what,
        system = request.system,
        first = first_minute(&request.system),
    );
    ExportFile { name: format!("{}.timer", lane_name(request, lane)), contents }
}

fn service_account(request: &ExportRequest) -> String {
    let (name, system) = (unit_name(request), &request.system);
    let namespace = request.namespace.as_deref().unwrap_or("default");
    format!(
        r#"# Before it: the policy, and what it names by `env:` and by `file:/etc/drctl/keys/…`.
#   kubectl --namespace {namespace} create configmap {name}-policy --from-file=policy.toml={policy}
#   kubectl --namespace {namespace} create secret generic {name}-env --from-env-file=FILE
#   kubectl --namespace {namespace} create secret generic {name}-keys --from-file=FILE
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{ app.kubernetes.io/name: drctl, app.kubernetes.io/instance: {system} }}
automountServiceAccountToken: false
"#,
        policy = shell_word(&request.policy.to_string_lossy()),
    )
}

/// Of what is scheduled: see [`LANES`].
fn cron_job(request: &ExportRequest, lane: &Lane) -> Result<String, ExportError> {
    let image = request.image.as_ref().ok_or(ExportError::NoImage)?;
    let name = unit_name(request);
    let namespace = request.namespace.as_deref().unwrap_or("default");
    Ok(format!(
        r#"---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {job}
  namespace: {namespace}
  labels: {{ app.kubernetes.io/name: drctl, app.kubernetes.io/instance: {system} }}
spec:
  schedule: "{first}-59/{WAKE_MINUTES} * * * *"
  timeZone: Etc/UTC
  # drctl decides what is due, and makes up for what was missed: a wake that is late is worth nothing.
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {deadline}
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: 86400
      template:
        metadata:
          labels: {{ app.kubernetes.io/name: drctl, app.kubernetes.io/instance: {system} }}
        spec:
          serviceAccountName: {name}
          automountServiceAccountToken: false
          restartPolicy: Never
          terminationGracePeriodSeconds: 90
          securityContext:
            runAsNonRoot: true
            runAsUser: 65532
            runAsGroup: 65532
            fsGroup: 65532
            seccompProfile: {{ type: RuntimeDefault }}
          containers:
            - name: drctl
              image: {image}
              args: ["--quiet", "--policy", "/etc/drctl/policy/policy.toml", "run-due", "--only", "{only}"]
              env:
                - {{ name: DRCTL_STATE_DIR, value: /var/lib/drctl }}
                - {{ name: TMPDIR, value: /scratch }}
              envFrom:
                - secretRef: {{ name: {name}-env, optional: true }}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{ drop: [ALL] }}
              resources:
                requests: {{ cpu: 100m, memory: 256Mi, ephemeral-storage: 1Gi }}
                limits: {{ memory: 512Mi }}
              volumeMounts:
                - {{ name: policy, mountPath: /etc/drctl/policy, readOnly: true }}
                - {{ name: keys, mountPath: /etc/drctl/keys, readOnly: true }}
                - {{ name: state, mountPath: /var/lib/drctl }}
                - {{ name: scratch, mountPath: /scratch }}
          volumes:
            - {{ name: policy, configMap: {{ name: {name}-policy }} }}
            - {{ name: keys, secret: {{ secretName: {name}-keys, optional: true, defaultMode: 0400 }} }}
            # The catalog is rebuilt from the repositories; a persistent volume spares that.
            - {{ name: state, emptyDir: {{}} }}
            - {{ name: scratch, emptyDir: {{}} }}
"#,
        job = lane_name(request, lane),
        only = lane.only,
        image = yaml_string(image),
        system = request.system,
        first = first_minute(&request.system),
        deadline = u32::from(WAKE_MINUTES) * 60 - 10,
    ))
}

/// Writes a string as JSON does, which YAML reads.
fn yaml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(format: ExportFormat) -> ExportRequest {
        ExportRequest {
            format,
            system: "shop".parse().unwrap(),
            program: "/usr/local/bin/drctl".into(),
            policy: "/etc/drctl/100% shop's.toml".into(),
            user: Some("backup".to_owned()),
            writes: vec!["/mnt/second disk/drctl".into()],
            image: Some("registry.example.org/drctl:0.1".to_owned()),
            namespace: None,
        }
    }

    fn text(request: &ExportRequest) -> String {
        let files = export(request).unwrap();
        files.iter().map(|file| format!("== {}\n{}", file.name, file.contents)).collect()
    }

    #[test]
    fn the_files_are_as_reviewed() {
        for (name, format) in [
            ("cron", ExportFormat::Cron),
            ("systemd", ExportFormat::Systemd),
            ("kubernetes", ExportFormat::Kubernetes),
        ] {
            insta::assert_snapshot!(name, text(&request(format)));
        }
    }

    #[test]
    fn a_path_cannot_add_a_line() {
        let mut request = request(ExportFormat::Cron);
        request.policy = "/etc/drctl/x\n* * * * * root rm -rf ~".into();
        assert!(matches!(export(&request), Err(ExportError::LineBreak { what: "cron", .. })));
        let request = ExportRequest { image: None, ..super::tests::request(ExportFormat::Kubernetes) };
        assert_eq!(export(&request), Err(ExportError::NoImage));
    }

    #[test]
    fn systems_are_spread_over_the_minutes() {
        let systems = (0..100).map(|n| format!("system-{n}").parse::<SystemName>().unwrap());
        let minutes: std::collections::BTreeSet<u8> = systems.map(|system| first_minute(&system)).collect();
        assert_eq!(minutes.len(), usize::from(WAKE_MINUTES));
    }
}
