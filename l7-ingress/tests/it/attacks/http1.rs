//! The corpus of smuggled requests, through the proxy: as many requests reach a backend as are
//! answered to the client, on the route that the proxy chose, in one form.

use super::backend::{Seen, recorder};
use super::client::Wire;
use super::program::{Program, Route, SOON};

#[path = "../../../core/tests/corpus/requests.rs"]
mod requests;

/// Ends a connection after all that came before it was answered.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn one_request_in_is_one_request_out() {
    let (open, open_seen) = recorder().await;
    let (admin, admin_seen) = recorder().await;
    let routes = [
        Route::new("open", "/", &[open.address]),
        Route::new("admin", "/admin", &[admin.address]),
    ];
    let program = Program::start(&routes, &[]).await;
    for case in requests::cases() {
        let mut wire = Wire::connect(program.http).await;
        let mut sent = case.sent.clone();
        if case.refused.is_none() {
            sent.extend_from_slice(LAST.as_bytes());
        }
        wire.send(sent).await;
        let reading = tokio::time::timeout(SOON / 2, wire.responses()).await;
        let responses = reading.unwrap_or_else(|_| panic!("{} is left open", case.name));
        let mut statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
        statuses.retain(|status| *status != 100);
        let mut expect = vec![200; case.served.len()];
        expect.push(case.refused.unwrap_or(200));
        assert_eq!(
            statuses,
            expect,
            "{}: {}",
            case.name,
            case.sent.escape_ascii()
        );

        let targets = responses
            .iter()
            .flat_map(|response| response.field("x-target"));
        let targets: Vec<_> = targets.filter(|target| *target != "/last").collect();
        let served: Vec<_> = case.served.iter().map(|served| served.target).collect();
        assert_eq!(targets, served, "{}", case.name);

        let mut seen = open_seen.take();
        seen.retain(|seen| seen.complete && seen.target != "/last");
        let guarded = admin_seen.take();
        for served in &case.served {
            let under_admin = served.matched == "/admin" || served.matched.starts_with("/admin/");
            let (there, elsewhere) = if under_admin {
                (&guarded, &seen)
            } else {
                (&seen, &guarded)
            };
            assert!(
                there.iter().any(|seen| is(seen, served)),
                "{}: {there:?}",
                case.name
            );
            assert!(
                !elsewhere.iter().any(|seen| is(seen, served)),
                "{}",
                case.name
            );
        }
        assert_eq!(
            seen.len() + guarded.len(),
            case.served.len(),
            "{}",
            case.name
        );
    }
    program.finish().await;
}

fn is(seen: &Seen, served: &requests::Served) -> bool {
    (
        seen.method.as_str(),
        seen.target.as_str(),
        seen.body.as_slice(),
    ) == (served.method, served.target, served.body)
}
