{{/* Names and labels. A name is cut so that the component's suffix survives, and so that a StatefulSet's pods still carry
     their labels: 52 characters in all. */}}

{{- define "hiper.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}

{{/* Name of a component's objects. Takes [root, component]. */}}
{{- define "hiper.name" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $room := sub 51 (len $component) | int -}}
{{- printf "%s-%s" (include "hiper.fullname" $root | trunc $room | trimSuffix "-") $component -}}
{{- end -}}

{{/* DNS name of a component's Service. Takes [root, component]. */}}
{{- define "hiper.host" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.svc.%s" (include "hiper.name" .) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{- define "hiper.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What never changes over the life of a release. Takes [root, component]. */}}
{{- define "hiper.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Takes [root, component]; an empty component is the release itself. */}}
{{- define "hiper.labels" -}}
{{- $root := index . 0 -}}
{{ include "hiper.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hiper
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ include "hiper.chart" $root }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, labels and annotations of an object. Takes [root, component] and, as a third, annotations of its own. */}}
{{- define "hiper.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "hiper.name" . }}
namespace: {{ $root.Release.Namespace }}
{{ include "hiper.metadata.unnamed" . }}
{{- end -}}

{{- define "hiper.metadata.unnamed" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "hiper.labels" . | nindent 2 }}
{{- $own := dict -}}
{{- if gt (len .) 2 }}{{ $own = index . 2 }}{{ end -}}
{{- with merge (deepCopy $own) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes [root, image]. */}}
{{- define "hiper.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := coalesce $root.Values.global.imageRegistry $image.registry $root.Values.image.registry -}}
{{- $tag := coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion -}}
{{- if eq $tag "latest" -}}
{{- fail (printf "hiper: the tag of image %s is `latest`, which is another program tomorrow: name a version" $image.repository) -}}
{{- end -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}:{{ $tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}
