use crate::model::SourceName;
use crate::policy::decode::Spanned;
use crate::policy::macros::table;
use crate::policy::value::Period;

table! {
    /// Sources that belong together: `drctl backup` takes them one after the other as one recovery point, and `drctl
    /// restore --all` brings them back together.
    RecoveryPointTable {
        required {
            /// In the order they are taken. The time of the first is the point's: the database first, since files that it
            /// does not know yet do no harm.
            sources: Vec<Spanned<SourceName>>,
        }
        optional {
            /// A program and its arguments, no shell, that keeps the application from writing. It is run before the first
            /// source is taken.
            pause: Vec<Spanned<String>>,
            /// A program and its arguments, no shell, that lets the application write again. It is run in any case, also when
            /// `pause` fails, and by the next run where this one was killed: it has to accept that nothing is paused.
            resume: Vec<Spanned<String>>,
            /// How long the application may be paused. `5m` unless given.
            deadline: Period,
            /// What must be true between sources after they were restored.
            references: Vec<Spanned<ReferenceTable>>,
        }
    }
}

table! {
    /// Rows of a database that name files of another source: after a restore each of these files has to be there.
    ReferenceTable {
        required {
            /// The source with the rows.
            source: SourceName,
            /// A query of one column: the path of each file.
            sql: String,
            /// The source with the files.
            files: SourceName,
        }
        optional {
            /// Where the paths begin in the restored files, like `srv/uploads`; at their top unless given.
            prefix: String,
        }
    }
}
