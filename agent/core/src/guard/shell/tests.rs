use super::*;

/// The commands as text, each word by its values joined with `/`.
fn read(text: &str, first: Option<&[&str]>) -> Vec<String> {
    let commands = commands(text, first).unwrap();
    commands
        .iter()
        .map(|command| {
            let words: Vec<String> = command.words.iter().map(|values| values.join("/")).collect();
            let writes: String =
                command.writes.iter().map(|values| format!(" >{}", values.join("/"))).collect();
            format!("{}{writes}", words.join(" ")).replace(ANY, "?").trim().to_owned()
        })
        .filter(|command| !command.starts_with('['))
        .collect()
}

#[test]
fn words_quotes_comments_and_continuations() {
    let text = "#!/bin/sh\nset -e # why\necho 'a b'\"$x\" \\\n  c\\ d; f #x\n";
    assert_eq!(read(text, None), ["set -e", "echo a b? c d", "f"]);
    assert_eq!(read("a && b || c | d & e", None), ["a", "b", "c", "d", "e"]);
}

#[test]
fn variables_have_all_the_values_that_they_are_given() {
    let text = "f() { systemctl $verb \"$unit\"; }\nif [ -n \"$2\" ]; then verb=restart; else verb=start; fi\n\
                for unit in libvirtd.service virtlogd.service; do f; done\n";
    let found = read(text, None);
    assert_eq!(found[0], "systemctl restart/start libvirtd.service/virtlogd.service");
    assert_eq!(read("LIST='a b'\nfor x in $LIST; do use $x; done", None), ["use a/b"]);
    assert_eq!(read("OPTIONS='-a -b'\ncp $OPTIONS \"$OPTIONS\"", None), ["cp -a -b -a -b"]);
    assert_eq!(read("use ${X:-default} ${Y%.so} $(inner --flag) `other`", None)[0], "inner --flag");
    assert_eq!(read("use ${X:-default} ${Y%.so}", None), ["use default/? ?"]);
}

#[test]
fn branches_for_other_occasions_are_left_out() {
    let text = r#"
case "$1" in
    purge)
        rm -rf /var/lib/libvirt
    ;;
    configure|triggered) start ;;
    abort-*) abort ;;
    *) unknown ;;
esac
if [ "$1" = remove ] && [ -d /run/systemd/system ] ; then
    reload
elif [ "$1" != "configure" ]; then
    other
else
    configured
fi
[ "$1" = purge ] && wipe || stay
"#;
    assert_eq!(read(text, Some(&["configure"])), ["start", "configured", "stay"]);
    assert_eq!(read(text, Some(&["purge"])), ["rm -rf /var/lib/libvirt", "other", "wipe", "stay"]);
    assert_eq!(
        read(text, Some(&["remove", "upgrade"])),
        ["unknown", "reload", "other", "stay"],
        "what is so for some of the occasions is taken both ways"
    );
    let any = read(text, None);
    assert!(any.contains(&"rm -rf /var/lib/libvirt".to_owned()) && any.contains(&"wipe".to_owned()));
}

#[test]
fn the_arguments_of_a_function_are_not_those_of_the_script() {
    let text = "f() {\n  if [ \"$1\" = purge ]; then rm -rf /x; fi\n}\nf purge\n";
    assert!(read(text, Some(&["configure"])).contains(&"rm -rf /x".to_owned()));
}

#[test]
fn redirections_and_here_documents() {
    let text = "echo x >/a 2>&1 >> \"$D/b\"\ncat <<'EOF' | sh\nsystemctl stop x\nEOF\nafter\n> /lib/c.so\n{ y; } >/d\n";
    assert_eq!(read(text, None), ["echo x >/a >?/b", "cat", "sh", "after", ">/lib/c.so", "y", ">/d"]);
    let here = commands(text, None).unwrap().into_iter().find_map(|command| command.here);
    assert_eq!(here.as_deref(), Some("systemctl stop x\n"));
}

#[test]
fn what_is_no_script_is_unreadable() {
    for bad in ["if x; then", "echo 'a", "fi", "case x in a) b", "a $(b", "while x; done", "f (a", "} "] {
        assert!(commands(bad, None).is_err(), "{bad}");
    }
    let error = commands("a\nb\nfi\n", None).unwrap_err();
    assert!(error.to_string().contains("end without its beginning"), "{error}");
}

#[test]
fn globs_and_unknown_parts_match() {
    assert!(
        glob("libvirt*", "libvirtd.service") && glob("virt?ogd", "virtlogd") && !glob("virt", "virtlogd")
    );
    assert!(may_be(&format!("{ANY}.service"), "libvirtd.service"));
    assert!(!may_be(&format!("nova{ANY}"), "libvirtd.service"));
    assert!(glob("*a*b", "xxaxxb") && !glob("*a*b", "xxaxx"));
}
