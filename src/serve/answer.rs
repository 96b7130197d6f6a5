//! Which answer a request gets. Pure, but for the pages that are written when they are asked for.

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use bytes::Bytes;

use super::site::{Site, SitePage};

/// Longer paths, query included, lead nowhere.
const PATH_LIMIT: usize = 1_024;
/// The sum of all names and values.
const HEADER_LIMIT: usize = 16 * 1_024;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the answer to a request.
pub(super) fn answer(method: &Method, uri: &Uri, headers: &HeaderMap, site: &Site) -> Response<Body> {
    let (status, kind, body) = match found(method, uri, headers, site) {
        Ok((kind, body)) => (StatusCode::OK, kind, body),
        Err(status) => {
            let reason = status.canonical_reason().unwrap_or("refused");
            (status, TEXT, Bytes::from(format!("{} {reason}\n", status.as_u16())))
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_TYPE, kind);
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if status == StatusCode::METHOD_NOT_ALLOWED {
        set(ALLOW, "GET, HEAD");
    }
    if let Ok(policy) = HeaderValue::from_str(&site.content_policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn found(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    site: &Site,
) -> Result<(&'static str, Bytes), StatusCode> {
    let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if length > PATH_LIMIT {
        return Err(StatusCode::URI_TOO_LONG);
    }
    if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > HEADER_LIMIT {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    check_host(uri, headers, site)?;
    if method != Method::GET && method != Method::HEAD {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let page = match uri.path() {
        "/" => SitePage::Start,
        "/metrics" => SitePage::Metrics,
        "/healthz" => return Ok((TEXT, Bytes::from_static(b"ok\n"))),
        path => match path.strip_prefix("/systems/") {
            Some(name) => SitePage::System(name.to_owned()),
            None => return Err(StatusCode::NOT_FOUND),
        },
    };
    let body = site.page(&page).ok_or(StatusCode::NOT_FOUND)?;
    Ok((if page == SitePage::Metrics { METRICS } else { HTML }, body))
}

fn check_host(uri: &Uri, headers: &HeaderMap, site: &Site) -> Result<(), StatusCode> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(StatusCode::BAD_REQUEST) };
    let host = host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
    // A proxy's request names the host twice.
    let authority = uri.authority().map(|authority| authority.as_str());
    let is_allowed = site.hosts.allow(host) && authority.is_none_or(|authority| site.hosts.allow(authority));
    if is_allowed { Ok(()) } else { Err(StatusCode::MISDIRECTED_REQUEST) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::monitor::{FailedCollection, Watched, healthy, watched};
    use crate::platform::SystemClock;
    use crate::serve::AllowedHosts;

    fn site(names: &[&str]) -> Site {
        let hosts = AllowedHosts::new("127.0.0.1:9187".parse().unwrap(), &[]).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let site = Site::new(&names, hosts, Duration::from_secs(300), Arc::new(SystemClock));
        site.enter(0, watched(healthy()));
        site
    }

    fn ask(site: &Site, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Response<Body> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        answer(&method.parse().unwrap(), &path.parse().unwrap(), &map, site)
    }

    const LOCAL: [(&str, &str); 1] = [("host", "localhost:9187")];

    #[test]
    fn hostile_requests_get_a_4xx() {
        let site = site(&["shop"]);
        let long = format!("/{}", "a".repeat(1_100));
        let wide = "x".repeat(17_000);
        for (status, method, path, headers) in [
            (200, "GET", "/", LOCAL.to_vec()),
            (200, "HEAD", "/", LOCAL.to_vec()),
            (200, "GET", "/metrics?name=x", LOCAL.to_vec()),
            (200, "GET", "/healthz", LOCAL.to_vec()),
            (200, "GET", "/systems/shop", LOCAL.to_vec()),
            (400, "GET", "/", vec![]),
            (400, "GET", "/", vec![LOCAL[0], LOCAL[0]]),
            (421, "GET", "/", vec![("host", "evil.example.org")]),
            (421, "GET", "http://evil.example.org/", LOCAL.to_vec()),
            (404, "GET", "/systems/other", LOCAL.to_vec()),
            (404, "GET", "/systems/", LOCAL.to_vec()),
            (404, "GET", "/systems/../metrics", LOCAL.to_vec()),
            (404, "GET", "/..%2f..%2fetc/passwd", LOCAL.to_vec()),
            (404, "GET", "//", LOCAL.to_vec()),
            (405, "POST", "/", LOCAL.to_vec()),
            (405, "DELETE", "/systems/shop", LOCAL.to_vec()),
            (405, "TRACE", "/", LOCAL.to_vec()),
            (414, "GET", &long, LOCAL.to_vec()),
            (431, "GET", "/", vec![LOCAL[0], ("cookie", wide.as_str())]),
        ] {
            let response = ask(&site, method, path, &headers);
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert!(header("content-security-policy").starts_with("default-src 'none'; "));
            assert!(!header("content-security-policy").contains("unsafe"));
            assert_eq!(
                (header("x-content-type-options"), header("x-frame-options")),
                ("nosniff".into(), "DENY".into())
            );
        }
    }

    fn text(site: &Site, page: &SitePage) -> String {
        String::from_utf8(site.page(page).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_collection_that_fails_leaves_the_old_snapshot_and_is_said() {
        let site = site(&["shop"]);
        assert!(text(&site, &SitePage::Metrics).contains("drctl_collection_success{system=\"shop\"} 1"));
        let at = "2026-11-20T13:00:00Z".parse().unwrap();
        let failed = Some(FailedCollection { at, reason: "no route to host".to_owned() });
        site.enter(0, Watched { name: "shop-file".to_owned(), snapshot: None, failed });
        let page = text(&site, &SitePage::Start);
        assert!(page.contains("no route to host") && page.contains("primary"), "{page}");
        let metrics = text(&site, &SitePage::Metrics);
        assert!(metrics.contains("drctl_collection_success{system=\"shop\"} 0"), "{metrics}");
        assert!(metrics.contains("drctl_rpo_target_seconds{system=\"shop\"} 3600"), "{metrics}");
        site.enter(0, watched(healthy()));
        assert!(!text(&site, &SitePage::Start).contains("no route to host"));
    }

    #[test]
    fn several_systems_have_an_overview_and_a_page_each() {
        let site = site(&["shop", "a file"]);
        let start = text(&site, &SitePage::Start);
        assert!(start.contains("href=\"/systems/shop\"") && start.contains("href=\"/systems/a%20file\""));
        assert!(site.page(&SitePage::System("a%20file".to_owned())).is_some());
        // No more pages are kept than there are systems.
        assert_eq!(site.page(&SitePage::System("a file".to_owned())), None);
    }
}
