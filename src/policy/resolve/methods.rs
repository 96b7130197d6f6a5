use crate::policy::decode::{Diagnostics, Spanned};

/// Reports a setting that nothing reads.
pub(super) fn unused<T>(setting: &Option<Spanned<T>>, hint: &str, log: &mut Diagnostics<'_>) {
    if let Some(at) = setting {
        log.fault(&at.spot, "is not used", hint);
    }
}

/// Returns the given methods, or `otherwise`. Reports duplicates and an empty list.
pub(super) fn methods<T: Copy + PartialEq>(
    given: &Option<Spanned<Vec<Spanned<T>>>>,
    otherwise: T,
    log: &mut Diagnostics<'_>,
) -> Vec<T> {
    let Some(given) = given else { return vec![otherwise] };
    if given.is_empty() && !log.has_faults_at(&given.spot) {
        log.fault(&given.spot, "names no method", "name one, or remove the setting");
    }
    let mut methods = Vec::new();
    for method in &given.value {
        if methods.contains(&method.value) {
            log.fault(&method.spot, "is there twice", "name each method once");
        }
        methods.push(method.value);
    }
    methods
}
