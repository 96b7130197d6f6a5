use crate::model::{Artifact, CloudBackupCopy};
use crate::source::manual_restore::plain;

/// Returns the commands that restore a recovery point with the AWS CLI, for the manifest.
pub(super) fn lines(
    details: &Artifact,
    resource_type: &str,
    role: &str,
    held: &[CloudBackupCopy],
) -> Vec<String> {
    let mut lines = vec![
        format!(
            "# AWS Backup keeps it, in {}; use the region that lives",
            held.iter().map(|copy| copy.region.as_str()).collect::<Vec<_>>().join(" and ")
        ),
        format!("{} > details.json", plain(details)),
        "jq .resource.metadata details.json > metadata.json  # then edit it: the name of what is made, nothing of another region, no key that AWS only informs of"
            .to_owned(),
    ];
    for copy in held {
        lines.push(format!(
            "aws backup start-restore-job --region {} --recovery-point-arn {} --resource-type {resource_type} --iam-role-arn {role} --metadata file://metadata.json",
            copy.region, copy.arn
        ));
    }
    lines.push("aws backup describe-restore-job --region REGION --restore-job-id ID  # until it is COMPLETED; read its StatusMessage too".to_owned());
    lines
}
