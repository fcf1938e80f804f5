#!/usr/bin/perl
# Warren's CNI plugin as a runtime calls it: hands the call to the agent of this host, and its answer back.
#
# It decides nothing. It starts for every container, so it is in Perl, which every Debian has, and loads no module: that
# takes 2 ms, and Python's start alone takes 6.

use strict;

my $SOCKET   = "/run/warren/cni.sock";
my @VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0");
my ($AF_UNIX, $SOCK_STREAM) = (1, 1);

my $STRING = qr/"(?:[^"\\\x00-\x1f]|\\(?:["\\\/bfnrt]|u[0-9a-fA-F]{4}))*+"/;

exit main();

sub main {
    local $/;
    local $SIG{PIPE} = "IGNORE";
    my $stdin   = <STDIN> // "";
    my $command = $ENV{CNI_COMMAND} // "";
    my $path    = $SOCKET;
    if ($command eq "VERSION" || $stdin =~ /"socket"/) {
        my %config = $stdin =~ /\A\s*\z/ ? () : fields($stdin);
        return failed(6, "The network configuration is not a JSON object.") if $config{fault};
        return version($config{cniVersion}) if $command eq "VERSION";
        my $given = $config{socket} // "null";
        if ($given ne "null" && $given ne '""') {
            return failed(7, "Field 'socket' is $given; give the path of the agent's socket.") if $given !~ /\A"/;
            $path = text($given);
        }
    }
    syswrite STDERR, "Warren CNI plugin; for container runtimes. CNI_COMMAND=VERSION tells what it supports.\n"
        if $command eq "";
    my $pairs = join ",", map { quote($_) . ":" . quote($ENV{$_}) } grep { /\ACNI_/ } sort keys %ENV;
    my $reply = ask($path, "{\"env\":{$pairs},\"stdin\":" . quote($stdin) . "}\n");
    if (!defined $reply) {
        my $code = $command eq "STATUS" ? 50 : 11;
        return failed($code, "Warren's agent does not answer at $path ($!); start it and try again.");
    }
    return failed(11, "Warren's agent at $path went away before it had answered; try again.") if $reply eq "";
    return printed(substr($reply, 0, 1), substr($reply, 1));
}

# What the agent replies; undef, with the reason in $!, when it cannot be asked.
sub ask {
    my ($path, $request) = @_;
    socket(my $agent, $AF_UNIX, $SOCK_STREAM, 0) or return;
    connect($agent, pack("S Z*", $AF_UNIX, $path)) or return;    # struct sockaddr_un of Linux
    while (length $request) {
        my $sent = syswrite($agent, $request) or return;
        substr($request, 0, $sent, "");
    }
    my $reply = "";
    while (my $got = sysread($agent, $reply, 65536, length $reply)) { }
    return $reply;
}

sub version {
    my $version = defined $_[0] && $_[0] =~ /\A"./ && $_[0] ne '""' ? $_[0] : quote($VERSIONS[-1]);
    my $supported = join ",", map { quote($_) } @VERSIONS;
    return printed(0, "{\"cniVersion\":$version,\"supportedVersions\":[$supported]}");
}

# The fields of a JSON object (RFC 8259), their values as they are written; `fault` alone if it is none.
sub fields {
    my ($text) = @_;
    my %found;
    my $JSON = qr/
        (?(DEFINE)
            (?<value>  \s*+ (?: (?&string) | (?&number) | (?&object) | (?&array) | true | false | null ) \s*+ )
            (?<string> $STRING )
            (?<number> -?+ (?: 0 | [1-9]\d*+ ) (?: \.\d++ )?+ (?: [eE][+-]?+\d++ )?+ )
            (?<pair>   \s*+ (?&string) \s*+ : (?&value) )
            (?<object> \{ (?: (?&pair) (?: , (?&pair) )*+ | \s*+ ) \} )
            (?<array>  \[ (?: (?&value) (?: , (?&value) )*+ | \s*+ ) \] )
        )
    /x;
    return (fault => 1) if $text !~ /\A\s*(?&object)\s*\z$JSON/;
    $text =~ /\G\s*\{/gc;
    while ($text =~ /\G\s*,?\s*($STRING)\s*:\s*((?&value))$JSON/gc) {
        my ($name, $value) = ($1, $2);
        $value =~ s/\s+\z//;
        $found{text($name)} = $value;
    }
    delete $found{fault};
    return %found;
}

sub text {
    my ($quoted) = @_;
    my %short = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");
    my $text = substr($quoted, 1, -1);
    $text =~ s/\\(?:u([0-9a-fA-F]{4})|(.))/defined $1 ? utf8_of(hex $1) : $short{$2} \/\/ $2/ge;
    return $text;
}

sub utf8_of {
    my $character = chr $_[0];
    utf8::encode($character);
    return $character;
}

sub quote {
    my ($text) = @_;
    $text =~ s/([\x00-\x1f"\\])/sprintf "\\u%04x", ord $1/ge;
    return "\"$text\"";
}

sub failed {
    my ($code, $sentence) = @_;
    return printed(1, "{\"cniVersion\":\"$VERSIONS[-1]\",\"code\":$code,\"msg\":" . quote($sentence) . "}");
}

sub printed {
    my ($code, $text) = @_;
    while (length $text) {
        my $written = syswrite(STDOUT, $text) or last;
        substr($text, 0, $written, "");
    }
    return $code;
}
