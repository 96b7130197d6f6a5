//! KMS, as far as it says what a key is: `DescribeKey`, over its JSON protocol.

use super::Shared;
use super::script::{Fault, Script};
use super::state::ACCOUNT;

/// Status and document.
pub(super) fn answer(shared: &Shared, region: &str, target: &str, body: &[u8]) -> (u16, String) {
    let refused = |status, code: &str, message: &str| {
        (status, serde_json::json!({ "__type": code, "message": message }).to_string())
    };
    let mut script = shared.script();
    if let Some(Fault::Error(status, code, message)) =
        script.fault(region, "DescribeKey", &super::form::Form::parse(b""))
    {
        return refused(status, code, message);
    }
    if target != "TrentService.DescribeKey" {
        return refused(400, "UnsupportedOperationException", target);
    }
    let named = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default()["KeyId"].clone();
    let Some(arn) = arn(&script, region, named.as_str().unwrap_or_default()) else {
        return refused(400, "NotFoundException", "Alias or key is not found.");
    };
    let manager = if script.keys_of_aws.contains(&arn) { "AWS" } else { "CUSTOMER" };
    let id = arn.rsplit('/').next().unwrap_or_default();
    let metadata = serde_json::json!({ "KeyId": id, "Arn": arn, "KeyManager": manager });
    (200, serde_json::json!({ "KeyMetadata": metadata }).to_string())
}

fn arn(script: &Script, region: &str, named: &str) -> Option<String> {
    let own = format!("arn:aws:kms:{region}:{ACCOUNT}:");
    let word = named.strip_prefix(&own).unwrap_or(named);
    match word.split_once('/') {
        Some(("alias", _)) => script.aliases.get(&(region.to_owned(), word.to_owned())).cloned(),
        Some(("key", id)) => Some(format!("{own}key/{id}")),
        // A key of another region.
        _ if named.starts_with("arn:") => None,
        _ => Some(format!("{own}key/{named}")),
    }
}
