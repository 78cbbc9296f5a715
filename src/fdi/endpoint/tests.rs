use super::*;

fn list(extra: &[&str], allow_insecure: bool) -> Result<AllowList, InvalidPattern> {
    AllowList::new(&extra.iter().map(ToString::to_string).collect::<Vec<_>>(), allow_insecure)
}

fn endpoint(list: &AllowList, text: &str) -> Result<String, String> {
    list.roma(&Location::Endpoint(text.to_owned())).map(|found| found.to_string()).map_err(|error| error.message)
}

#[test]
fn regions_lead_to_the_documented_endpoints() {
    let list = list(&[], false).unwrap();
    for (region, roma, iam) in [
        ("cn-north-4", "https://roma.cn-north-4.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com"),
        ("CN-North-4", "https://roma.cn-north-4.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com"),
        ("eu-west-101", "https://roma.eu-west-101.myhuaweicloud.com", "https://iam.eu-west-101.myhuaweicloud.eu"),
        ("ru-northwest-2", "https://roma.ru-northwest-2.myhuaweicloud.com", "https://iam.myhuaweicloud.com"),
    ] {
        let location = Location::Region(region.to_owned());
        assert_eq!(list.roma(&location).unwrap().as_str(), roma);
        assert_eq!(list.iam(&location, None).unwrap().as_str(), iam);
    }
    for odd in ["", "a.b", "evil.com/", "-a", "a-", "a b", "é", &"a".repeat(64), "a@b", "*"] {
        let error = list.roma(&Location::Region((*odd).to_owned())).unwrap_err();
        assert_eq!(error.cause, Cause::EndpointNotAllowed, "{odd}");
    }
}

/// `roma.obs.myhuaweicloud.com` is the bucket "roma" of the object storage, which anybody may own.
#[test]
fn a_region_has_the_form_of_a_region_and_nothing_else_stands_for_one() {
    let list = list(&[], false).unwrap();
    for region in [
        "cn-north-4",
        "cn-southwest-2",
        "eu-west-101",
        "ap-southeast-3",
        "la-north-2",
        "na-mexico-1",
        "sa-brazil-1",
        "af-south-1",
        "tr-west-1",
        "me-east-1",
        "ru-northwest-2",
        "my-kualalumpur-1",
    ] {
        assert!(list.roma(&Location::Region(region.to_owned())).is_ok(), "{region}");
        assert!(endpoint(&list, &format!("https://roma.{region}.myhuaweicloud.com")).is_ok(), "{region}");
        assert!(endpoint(&list, &format!("https://iam.{region}.myhuaweicloud.com")).is_ok(), "{region}");
    }
    for other in [
        "obs",
        "obs-website",
        "cdn",
        "oss",
        "apig",
        "cn-north-4-bucket",
        "x-cn-north-4",
        "cn-north",
        "cn--4",
        "cnn-north-4",
        "cn-north-4444",
        "cn-nor7h-4",
        "cn-north-4a",
        "-north-4",
        "cn-north-",
    ] {
        assert!(list.roma(&Location::Region(other.to_owned())).is_err(), "{other}");
        for service in ["roma", "iam"] {
            let text = format!("https://{service}.{other}.myhuaweicloud.com");
            assert!(endpoint(&list, &text).is_err(), "{text}");
            let iam = list.iam(&Location::Region("cn-north-4".into()), Some(&text));
            assert!(iam.is_err(), "{text}");
        }
    }
    assert!(
        super::AllowList::new(&["https://roma.*.corp.example".to_owned()], false)
            .unwrap()
            .roma(&Location::Endpoint("https://roma.obs.corp.example".into()))
            .is_ok(),
        "in a pattern of the administrator a star is any label"
    );
}

#[test]
fn private_addresses_are_for_endpoints_that_the_configuration_names() {
    let extra = ["https://*.corp.example:8443", "https://roma.cn-north-9.myhuaweicloud.com"];
    let list = list(&extra, true).unwrap();
    for host in ["roma.corp.example", "ROMA.corp.example.", "roma.cn-north-9.myhuaweicloud.com", "localhost"] {
        assert!(list.may_be_private(host), "{host}");
    }
    for host in ["roma.cn-north-4.myhuaweicloud.com", "iam.myhuaweicloud.com", "a.b.corp.example", "corp.example"] {
        assert!(!list.may_be_private(host), "{host}");
    }
    assert!(!super::AllowList::new(&[], false).unwrap().may_be_private("localhost"));
}

#[test]
fn spellings_of_one_endpoint_are_the_same_endpoint() {
    let list = list(&["https://roma.example.com:8443", "https://[2001:db8::1]:8443"], false).unwrap();
    for text in [
        "https://roma.cn-north-4.myhuaweicloud.com",
        "https://roma.cn-north-4.myhuaweicloud.com/",
        "HTTPS://Roma.CN-North-4.MyHuaweiCloud.com:443/",
        "https://roma.cn-north-4.myhuaweicloud.com.",
    ] {
        assert_eq!(endpoint(&list, text).unwrap(), "https://roma.cn-north-4.myhuaweicloud.com");
    }
    assert_eq!(endpoint(&list, "https://ROMA.example.com:8443/").unwrap(), "https://roma.example.com:8443");
    assert_eq!(endpoint(&list, "https://[2001:DB8:0::1]:8443").unwrap(), "https://[2001:db8::1]:8443");
}

#[test]
fn a_star_is_exactly_one_label() {
    let list = list(&["https://*.roma.corp.example"], false).unwrap();
    assert!(endpoint(&list, "https://a.roma.corp.example").is_ok());
    for text in [
        "https://roma.corp.example",
        "https://a.b.roma.corp.example",
        "https://a.roma.corp.example:444",
        "https://a.roma.corp.example.evil.com",
        "https://a.roma.corp.evil",
        "https://*.roma.corp.example",
        "https://roma.a.b.myhuaweicloud.com",
        "https://roma.myhuaweicloud.com",
        "https://obs.cn-north-4.myhuaweicloud.com",
        "https://bucket.roma.cn-north-4.myhuaweicloud.com",
    ] {
        let message = endpoint(&list, text).unwrap_err();
        assert!(message.contains(text), "{message}");
    }
    let message = endpoint(&list, "https://evil.example").unwrap_err();
    assert!(message.contains("https://roma.*.myhuaweicloud.com") && message.contains("https://*.roma.corp.example"));
}

#[test]
fn plain_http_and_loopback_need_the_flag() {
    let extra = ["http://fdi-simulator.fdi.svc:8080"];
    let open = list(&extra, true).unwrap();
    let closed = list(&[], false).unwrap();
    for text in [
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "https://localhost:8443",
        "http://[::1]:8080",
        "https://[::ffff:127.0.0.1]:8443",
        "http://0.0.0.0:80",
        "http://0x7f.1:8080",
        "http://fdi-simulator.fdi.svc:8080",
    ] {
        assert!(endpoint(&open, text).is_ok(), "{text}");
        assert!(endpoint(&closed, text).unwrap_err().contains("--allow-insecure-endpoints"), "{text}");
    }
    assert!(endpoint(&open, "http://evil.example").is_err(), "the flag does not open the list");
    assert!(endpoint(&open, "http://roma.cn-north-4.myhuaweicloud.com").is_err());
    assert!(list(&extra, false).is_err());
}

#[test]
fn whatever_is_no_bare_origin_is_refused_and_passwords_are_not_repeated() {
    let list = list(&[], true).unwrap();
    for (text, reason) in [
        ("https://user:s3cr3t@roma.cn-north-4.myhuaweicloud.com", "user or password"),
        ("https://roma.cn-north-4.myhuaweicloud.com/?a=b", "query"),
        ("https://roma.cn-north-4.myhuaweicloud.com/#a", "fragment"),
        ("https://roma.cn-north-4.myhuaweicloud.com/prefix", "path"),
        ("https://roma..myhuaweicloud.com", "empty label"),
        ("ftp://roma.cn-north-4.myhuaweicloud.com", "https://"),
        ("roma.cn-north-4.myhuaweicloud.com", "not a URL"),
        ("", "not a URL"),
    ] {
        let message = endpoint(&list, text).unwrap_err();
        assert!(message.contains(reason) && !message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn iam_follows_from_a_cloud_endpoint_and_must_be_named_for_another() {
    let list = list(&["https://roma.example.com", "https://iam.example.com"], false).unwrap();
    let cloud = Location::Endpoint("https://roma.ap-southeast-1.myhuaweicloud.com".to_owned());
    assert_eq!(list.iam(&cloud, None).unwrap().as_str(), "https://iam.ap-southeast-1.myhuaweicloud.com");
    let own = Location::Endpoint("https://roma.example.com".to_owned());
    assert!(list.iam(&own, None).unwrap_err().message.contains("iamEndpoint must be set"));
    assert_eq!(list.iam(&own, Some("https://iam.example.com/")).unwrap().as_str(), "https://iam.example.com");
    assert!(list.iam(&own, Some("https://evil.example")).unwrap_err().message.starts_with("iamEndpoint"));
}

#[test]
fn a_pattern_that_is_too_wide_or_never_matches_is_refused() {
    for pattern in ["https://*", "https://*.com", "https://a.*", "https://a*.example.com", "https://a.example/x", "a"] {
        assert!(list(&[pattern], false).is_err(), "{pattern}");
    }
}

#[test]
fn regions_of_the_cloud_are_one_site_and_every_other_origin_its_own() {
    let list = list(&["https://roma.example.com"], false).unwrap();
    let site = |location| list.roma(&location).unwrap().site().to_owned();
    assert_eq!(site(Location::Region("cn-north-4".into())), site(Location::Region("cn-east-3".into())));
    assert_eq!(site(Location::Endpoint("https://roma.example.com".into())), "https://roma.example.com");
}
