use thiserror::Error;

use super::IamDocument;
use super::role::{Account, IamRole};
use crate::policy::Policy;

/// Why no document can be built.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IamError {
    #[error(
        "the ARN of {what} needs the account's number, and the policy names {}",
        if *.several { "several accounts" } else { "none" }
    )]
    NoAccount { what: &'static str, several: bool },
    #[error("the {role} needs no permissions in AWS: the policy names nothing there that it uses")]
    NothingInAws { role: IamRole },
}

/// The document being built, and its inputs.
pub(super) struct Builder<'p> {
    pub(super) policy: &'p Policy,
    pub(super) role: IamRole,
    pub(super) document: IamDocument,
    /// For ARNs whose account the policy does not name.
    pub(super) account: Option<Account>,
    /// ARNs of the protected databases.
    pub(super) production: Vec<String>,
}

impl Builder<'_> {
    pub(super) fn account_or(&self, own: Option<&Account>, what: &'static str) -> Result<Account, IamError> {
        own.or(self.account.as_ref())
            .cloned()
            .ok_or_else(|| IamError::NoAccount { what, several: super::role::names_accounts(self.policy) })
    }
}
