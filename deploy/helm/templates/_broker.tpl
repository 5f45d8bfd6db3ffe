{{/* Parts of the broker. */}}

{{- define "hiper.brokerConf" -}}
bind * -::*
port 6379
# Every connection logs in as a user of the ACL file; there is no default user for this mode to protect.
protected-mode no
aclfile /etc/hiper/acl/users.acl
dir /data
daemonize no
logfile ""
save ""
appendonly {{ ternary "yes" "no" .Values.broker.persistence.enabled }}
appendfsync {{ .Values.broker.appendfsync }}
no-appendfsync-on-rewrite no
auto-aof-rewrite-percentage 100
aof-load-truncated yes
maxmemory {{ include "hiper.brokerMemory" . }}
maxmemory-policy noeviction
{{- end -}}

{{/* What the broker may keep: 70 % of its limit, for a rewrite of the append-only file copies pages. */}}
{{- define "hiper.brokerMemory" -}}
{{- $limit := (include "hiper.component" (list . "broker") | fromYaml).resources.limits.memory | toString -}}
{{- if .Values.broker.maxmemory -}}
{{- .Values.broker.maxmemory -}}
{{- else if regexMatch "^[0-9]+Gi$" $limit -}}
{{- printf "%dmb" (div (mul (trimSuffix "Gi" $limit | int64) 1024 7) 10) -}}
{{- else if regexMatch "^[0-9]+Mi$" $limit -}}
{{- printf "%dmb" (div (mul (trimSuffix "Mi" $limit | int64) 7) 10) -}}
{{- else -}}
{{- fail (printf "hiper: broker.resources.limits.memory is `%s`: write whole Gi or Mi, or set broker.maxmemory" $limit) -}}
{{- end -}}
{{- end -}}

{{/* Ready: it answers the observer, which it does not while it loads. Takes the probe's figures. */}}
{{- define "hiper.brokerProbe" -}}
exec:
  command: [sh, -c, '[ "$(REDISCLI_AUTH="$(cat /etc/hiper/observer/password)" valkey-cli --no-auth-warning --user observer ping)" = PONG ]']
{{ toYaml . }}
{{- end -}}
