use thiserror::Error;

use crate::model::SourceName;

/// A reason against a promotion.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PromoteRefusal {
    #[error("there is no {what} `{name}` in {region}")]
    Nothing { what: &'static str, name: String, region: String },
    #[error("`{instance}` was not restored from `{source_name}` by drctl")]
    NotRestored { instance: String, source_name: SourceName },
    #[error("the restore of `{instance}` did not finish: it is not completely set up")]
    NotFinished { instance: String },
    #[error(
        "only {held} of the policy's {asked} checks of the data in `{instance}` passed when it was restored"
    )]
    Wanting { instance: String, held: u64, asked: u64 },
    #[error(
        "`{name}` in {region} is neither what this policy backs up nor restored from it: it is not renamed"
    )]
    Foreign { name: String, region: String },
    #[error("`{name}` is `{status}`, and RDS renames nothing in that state")]
    Stuck { name: String, status: String, way_on: String },
    #[error(
        "`{0}` is not an identifier that RDS takes: it begins with a letter, has letters, digits and single `-`, and 63 characters at most"
    )]
    Identifier(String),
    #[error("`{instance}` is `{status}`: only an available one is promoted")]
    NotAvailable { instance: String, status: String },
    #[error("`{instance}` has the name of production already")]
    IsProduction { instance: String },
    #[error("{what} `{name}`, the name that the old one would get, already exists")]
    NameTaken { what: &'static str, name: String },
    #[error("the writers are not stopped: what they commit to the old one from now on would be lost")]
    WritersGoOn,
}

impl PromoteRefusal {
    pub fn hint(&self) -> String {
        let words = match self {
            Self::Stuck { way_on, .. } => return way_on.clone(),
            Self::Nothing { .. } | Self::IsProduction { .. } | Self::NotRestored { .. } => {
                "`drctl restore SOURCE --to-instance NAME` makes one."
            }
            Self::NotAvailable { status, .. } if status == "backing-up" => {
                "RDS is taking its first backup, and renames nothing meanwhile; it can be used at its own address. Promote it when it is `available`. A restore with `--backups-later` postpones that backup until the promotion."
            }
            Self::NotAvailable { .. } | Self::NotFinished { .. } => "Run the restore again: it resumes.",
            Self::Wanting { .. } => {
                "The same restore again repeats them, and reports which fail and why. Restore another point in time, or accept it with `--ignore-failed-checks`."
            }
            Self::NameTaken { .. } | Self::Identifier(_) => "Name another with `--put-aside-as`.",
            Self::Foreign { .. } => "Is it yours? Then rename it, and promote again.",
            Self::WritersGoOn => {
                "Name a command in the policy, `promote = { freeze = [\"…\"] }` under the source, or stop them yourself and pass `--writers-stopped`."
            }
        };
        words.to_owned()
    }
}
