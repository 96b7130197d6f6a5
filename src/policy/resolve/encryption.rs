use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::schema::{EncryptionTable, RecipientEntry};
use crate::policy::settings::{Encryption, Recipient};

pub(super) fn encryption(table: &Spanned<EncryptionTable>, log: &mut Diagnostics<'_>) -> Option<Encryption> {
    let asked = |danger: &Option<Spanned<bool>>| danger.as_deref().copied().unwrap_or(false);
    let unencrypted = asked(&table.danger_unencrypted);
    let list = table.recipients.as_ref();
    let spot = list.map_or_else(|| table.spot.below("recipients"), |list| list.spot.clone());
    if unencrypted && list.is_some() {
        let hint = "remove `danger_unencrypted` to encrypt, or `recipients` not to";
        log.fault(&spot, "are given, and `danger_unencrypted` too", hint);
        return None;
    }
    if unencrypted {
        return Some(Encryption::None);
    }
    let mut recipients: Vec<Recipient> = Vec::new();
    for entry in list.map(|list| list.value.as_slice()).unwrap_or_default() {
        let Some(recipient) = recipient(entry) else { continue };
        if recipients.iter().any(|other| other.key == recipient.key) {
            log.fault(&entry.spot, "is there twice", "each recipient must be a key of its own");
        } else {
            recipients.push(recipient);
        }
    }
    // A rejected key is not a missing one.
    if log.has_faults_at(&spot) {
        return None;
    }
    match recipients.len() {
        0 => {
            let hint = "run `drctl keys generate` and put both `age1…` keys into `recipients`; or say \
                        `danger_unencrypted = true`, and read access to a repository is access to the data";
            log.fault(&spot, "are missing: no key could open the backups", hint);
        }
        1 if !asked(&table.danger_single_recipient) => {
            let hint = "add a second key that is kept elsewhere (escrow); or say `danger_single_recipient = true`, \
                        and without its identity every backup is lost";
            log.fault(&spot, "hold one key only", hint);
        }
        _ => return Some(Encryption::Age { recipients }),
    }
    None
}

fn recipient(entry: &RecipientEntry) -> Option<Recipient> {
    Some(match entry {
        RecipientEntry::Key(key) => Recipient { holder: None, key: key.0.clone() },
        RecipientEntry::Held(table) => {
            Recipient { holder: table.holder.as_deref().cloned(), key: table.key.as_ref()?.0.clone() }
        }
    })
}
