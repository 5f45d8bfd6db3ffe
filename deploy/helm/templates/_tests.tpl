{{/* A container of `helm test`. Takes [root, args] and, as a third, another command. Its list of mounts may go on. */}}
{{- define "hiper.testContainer" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values.podDefaults -}}
image: {{ include "hiper.image" (list $root $values.image) }}
imagePullPolicy: {{ default $root.Values.image.pullPolicy $values.image.pullPolicy }}
command: {{ if gt (len .) 2 }}[{{ index . 2 }}]{{ else }}{{ toJson $values.command }}{{ end }}
args: {{ toJson (index . 1) }}
resources:
  requests: {cpu: 50m, memory: 64Mi}
  limits: {memory: 256Mi}
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end -}}
