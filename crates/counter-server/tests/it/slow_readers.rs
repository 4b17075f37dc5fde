use testing::memory::resident_kib;
use testing::{Raw, soon};

use crate::observer::{Observer, PLUS, Told};
use crate::start;

const UPDATES: i64 = 150_000;

/// The memory that twenty slow clients may cost the server, in KiB.
const GROWTH: u64 = 16 << 10;

#[tokio::test]
async fn a_slow_client_skips_to_the_latest_value() {
    // The slow clients answer no pings.
    let server = start(&["--ping-interval", "0"]).await;
    let mut observer = Observer::join(&server).await;
    let before = resident_kib(server.pid());
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(Raw::open_narrow(server.address).await);
    }
    observer.hears_users(21).await;

    for burst in 1..=UPDATES / 500 {
        observer.click(500);
        observer.hears("its clicks", |told| told.value == 500 * burst).await;
    }
    let grown = resident_kib(server.pid()).saturating_sub(before);
    println!("20 slow readers cost {grown} KiB");
    assert!(grown < GROWTH, "20 slow readers cost {grown} KiB");
    observer.is_served().await;
    assert_eq!(observer.told().missed, 0);

    for raw in &mut slow {
        let (mut last, mut count) = (Told { value: -1, ..Told::default() }, 0);
        while last.value < UPDATES + 1 {
            let (_, payload) = raw.next_frame().await.unwrap();
            let before = last.value;
            last.hear(str::from_utf8(&payload).unwrap());
            assert!(last.value >= before, "{} came after {before}", last.value);
            count += 1;
        }
        assert_eq!(last.users, 21);
        assert!(count < UPDATES, "{count} updates came, and none was skipped");
    }
    // From now on they keep up, and receive every value again.
    for n in 2..100 {
        slow[0].frame(0x81, PLUS).await;
        for raw in &mut slow {
            let mut told = Told::default();
            told.hear(str::from_utf8(&raw.next_frame().await.unwrap().1).unwrap());
            assert_eq!(told.value, UPDATES + n);
        }
    }
    drop(slow);
    soon("an empty room", observer.hears_users(1)).await;
}
